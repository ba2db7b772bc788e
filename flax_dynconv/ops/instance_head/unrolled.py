"""Every multiply-add of the network written out: one elementwise pass over instances and pixels, nothing in between.

The whole network is one elementwise function of an instance and a pixel, which compilers fuse and vectorise over the
pixels; no activation is ever in memory, and weights are scalars to the inner loop.
"""

import functools

import jax
import jax.numpy as jnp

from flax_dynconv.ops.instance_head._spec import Operands, relative


# Compiled also where the caller is not: hundreds of operations, each on the size of the result.
@functools.partial(jax.jit, static_argnums=0)
def apply(spec, operands: Operands) -> jax.Array:
    """(B, N, P), with every channel of every layer as a plane of its own."""
    features, weights, biases, locations, scales = operands
    planes = spec.planes(features)
    x = [] if locations is None else relative(locations, scales, spec.grid(features.dtype))
    x += [planes[:, None, c] for c in range(planes.shape[1])]
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        if layer:
            x = [jnp.maximum(plane, 0) for plane in x]
        x = [_neuron(x, w[..., o], b[..., o]) for o in range(w.shape[-1])]
    return x[0]


def _neuron(x, w, b):
    """b + sum_i x_i w_i for planes x_i, weights (B, N, I) and biases (B, N)."""
    total = b[..., None]
    for i, plane in enumerate(x):
        total = total + plane * w[..., i, None]
    return total
