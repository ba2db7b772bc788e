"""Whole training steps compiled for TPU v5e pods on a machine without one: memory, traffic and cycles of a chip.

    pip install '.[train,tpu]'
    python benchmarks/pod.py [--case MODEL:CHIPS:SHARDING ...] [--batch 32] [--results pod.json]

Every case is compiled ahead of time by the real compiler, in a process of its own: SGD with momentum, 224x224 images,
`--batch` of them on each chip, bfloat16 computation, float32 parameters, global batch statistics. Nothing runs on a
chip. Printed for each chip: the bytes of arguments, results and temporaries together (`memory_analysis`) against 16
GB, collectives with the bytes of their results, and the compiler's estimate of cycles. With `--results` finished cases
are kept in the file and not compiled again.
"""

import argparse
import collections
import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

TOPOLOGIES = {4: 'v5e:2x2', 16: 'v5e:4x4', 64: 'v5e:8x8', 256: 'v5e:16x16'}
MEMORY = 16e9
CASES = (
    'odconv_resnet18_4x:4:replicate',
    'odconv_resnet18_4x:16:replicate',
    'odconv_resnet18_4x:64:replicate',
    'odconv_resnet18_4x:256:replicate',
    'odconv_resnet50_4x:256:replicate',
    'odconv_resnet50_4x:256:fsdp',
)
# What a step may send besides sums (of gradients and statistics): with fsdp whole parameters and divided gradients.
ALLOWED = {'replicate': set(), 'fsdp': {'all-gather', 'reduce-scatter', 'collective-permute'}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--case', nargs='*', default=CASES, help='MODEL:CHIPS:SHARDING')
    parser.add_argument('--batch', type=int, default=32, help='images on each chip')
    parser.add_argument('--size', type=int, default=224, help='pixels')
    parser.add_argument('--results', type=Path, help='JSON file that keeps finished cases')
    parser.add_argument('--compile', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.compile:
        print(json.dumps(measure(args.compile, args.batch, args.size)))
        return
    kept = json.loads(args.results.read_text()) if args.results and args.results.exists() else {}
    print(f'{args.batch} images of {args.size} pixels on each chip, bfloat16')
    print('| network | chips | sharding | GB of 16 | sums | parameters and their gradients | Mcycles | compile s |')
    print('|---|---|---|---|---|---|---|---|')
    for case in args.case:
        key = f'{case}:{args.batch}:{args.size}'
        if key not in kept:
            kept[key] = in_a_process(case, args)
            if args.results:
                args.results.write_text(json.dumps(kept, indent=1))
        print(row(case, kept[key]), flush=True)


def in_a_process(case, args):
    """The measurement of one case; the TPU compiler wants its environment before JAX is imported."""
    chips = case.split(':')[1]
    env = os.environ | {
        'TPU_SKIP_MDS_QUERY': '1',
        'JAX_PLATFORMS': 'cpu',
        'TPU_WORKER_HOSTNAMES': 'localhost',
        'TPU_ACCELERATOR_TYPE': f'v5litepod-{chips}',
        'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
    }
    command = [sys.executable, __file__, '--compile', case, '--batch', str(args.batch), '--size', str(args.size)]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f'{case} failed:\n{run.stderr[-4000:]}')
    return json.loads(run.stdout.splitlines()[-1])


def measure(case, batch, size):
    import jax
    from jax.experimental import topologies

    from flax_dynconv.models import create_model, param_labels
    from flax_dynconv.training.plan import Plan
    from flax_dynconv.training.settings import Settings
    from flax_dynconv.training.sharding import Placement, collectives

    name, chips, sharding = case.split(':')
    settings = Settings().updated(
        model=name, batch_size=batch * int(chips), dtype='bfloat16', sharding=sharding, warmup_epochs=0.0, epochs=100
    )
    model, task = create_model(name, dtype=settings.network.dtype), pictures(size)
    topology = topologies.get_topology_desc(platform='tpu', topology_name=TOPOLOGIES[int(chips)])
    labels = param_labels(model, *jax.eval_shape(task.inputs, task.example()))
    placement = Placement.preset(sharding, labels=labels, devices=topology.devices)
    plan = Plan(model, task, settings, placement)
    start = time.perf_counter()
    with jax.set_mesh(placement.mesh):
        compiled = plan.train.lower(plan.shapes, plan.shape_of_batch(settings.images.batch_size)).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    travels, found = collections.defaultdict(lambda: [0, 0]), collectives(compiled)
    for collective in found:
        travels[collective.kind][0] += 1
        travels[collective.kind][1] += collective.bytes
    parameters = {
        math.prod(shape)
        for leaf in jax.tree.leaves(plan.shapes.params)
        for shape in (leaf.shape, leaf.sharding.shard_shape(leaf.shape))
    }
    return {
        'arguments': memory.argument_size_in_bytes,
        'temporaries': memory.temp_size_in_bytes,
        'bytes': memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes,
        'collectives': dict(travels),
        # Anything but sums and arrays of the size of a parameter, or of a device's part of one.
        'strange': sorted(
            {
                str(c)
                for c in found
                if c.kind != 'all-reduce'
                and (c.kind not in ALLOWED[sharding] or not {math.prod(shape) for _, shape in c.results} <= parameters)
            }
        ),
        'cycles': cycles(compiled.as_text()),
        'seconds': seconds,
    }


def pictures(size):
    """ImageNet without its images: shapes are all that a compiler wants."""
    import numpy as np

    from flax_dynconv.training.classification import Classification

    class Pictures(Classification):
        def steps_per_epoch(self, batch_size):
            return 1_281_167 // batch_size

    image, label = np.zeros((1, size, size, 3), np.float32), np.zeros(1, np.int32)
    return Pictures('imagenet', {'train': image, 'test': image}, {'train': label, 'test': label}, num_outputs=1000)


def cycles(text):
    """The compiler's estimate: the sum over the operations, those of a loop times its trips.

    It is high for narrow and depthwise convolutions and leaves out copies; figures of one kind compare.
    """
    computations, name = collections.defaultdict(list), None
    for line in text.splitlines():
        opened = re.match(r'(?:ENTRY )?%?([\w.-]+) \(.*\{$', line)
        if opened:
            name = 'ENTRY' if line.startswith('ENTRY') else opened[1]
        elif name:
            computations[name].append(line)

    def total(name):
        found = 0
        for line in computations[name]:
            found += sum(int(n) for n in re.findall(r'"estimated_cycles":"(\d+)"', line))
            if loop := re.search(r' while\(.*body=%?([\w.-]+)', line):
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
                found += total(loop[1]) * (int(trips[1]) if trips else 1)
        return found

    return total('ENTRY')


def row(case, found):
    name, chips, sharding = case.split(':')
    if found['strange']:
        sys.exit(f'{case} sends what no training step should: {found["strange"]}')
    traffic = [
        ' + '.join(
            f'{count} {kind} {size / 1e6:.1f} MB'
            for kind, (count, size) in sorted(found['collectives'].items())
            if (kind == 'all-reduce') == wanted
        )
        or '-'
        for wanted in (True, False)
    ]
    return (
        f'| {name} | {chips} | {sharding} | {found["bytes"] / 1e9:.2f} | {traffic[0]} | {traffic[1]} '
        f'| {found["cycles"] / 1e6:.1f} | {found["seconds"]:.0f} |'
    )


if __name__ == '__main__':
    main()
