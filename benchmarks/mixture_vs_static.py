"""The four ResNet-18 stage shapes: `mixture_conv` against the static convolution, forward + full gradient.

    python benchmarks/mixture_vs_static.py [--batch 8] [--kernels 4] [--rounds 15] [--implementation NAME]

Both run in one process, alternating, and the medians and their ratio are printed; float32, default XLA flags.
The gradient of the mixture is taken with respect to input, weights and bank, of the static one to input and kernel.
"""

import argparse
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from flax_dynconv import ops

STAGES = ((56, 64), (28, 128), (14, 256), (7, 512))


def static(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def forward_and_gradient(function):
    """One program: the output's cotangent is an argument, so that nothing is folded away."""

    def run(cotangent, *operands):
        y, pull_back = jax.vjp(function, *operands)
        return y, pull_back(cotangent)

    return jax.jit(run)


def milliseconds(function, arrays):
    start = time.perf_counter()
    jax.block_until_ready(function(*arrays))
    return 1e3 * (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--kernels', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--implementation', default=None)
    args = parser.parse_args()
    print(
        f'jax {jax.__version__}, {jax.devices()[0].device_kind}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}'
    )
    print(f'B={args.batch} K={args.kernels} float32, implementation={args.implementation}, {args.rounds} rounds')
    print(f'{"shape":>16} {"static ms":>10} {"dynamic ms":>11} {"ratio":>6} {"forward ratio":>14}')
    rng = np.random.RandomState(0)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)  # noqa: E731
    for size, channels in STAGES:
        x, bank = draw(args.batch, size, size, channels), draw(args.kernels, 3, 3, channels, channels)
        weights = jax.nn.softmax(draw(args.batch, args.kernels))
        dynamic = lambda x, bank, weights: ops.mixture_conv(x, bank, weights, implementation=args.implementation)  # noqa: E731
        cotangent = draw(*x.shape)
        programs = {
            'static': (forward_and_gradient(static), (cotangent, x, bank[0])),
            'dynamic': (forward_and_gradient(dynamic), (cotangent, x, bank, weights)),
            'static forward': (jax.jit(static), (x, bank[0])),
            'dynamic forward': (jax.jit(dynamic), (x, bank, weights)),
        }
        for function, arrays in programs.values():
            milliseconds(function, arrays)
        times = {name: [] for name in programs}
        for _ in range(args.rounds):
            for name, program in programs.items():
                times[name].append(milliseconds(*program))
        m = {name: statistics.median(values) for name, values in times.items()}
        print(
            f'{size}x{size} {channels}->{channels}'.rjust(16),
            f'{m["static"]:10.1f} {m["dynamic"]:11.1f} {m["dynamic"] / m["static"]:6.2f}',
            f'{m["dynamic forward"] / m["static forward"]:14.2f}',
        )


if __name__ == '__main__':
    main()
