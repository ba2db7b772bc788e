"""Matrix products over blocks of pixels: the form for wide networks, and the backward pass of every form.

The first layer is linear in rows that all instances of an image share, [features, x, y, 1]: one matrix product per
image. The loop is over blocks of pixels, never over the batch. Every layer is a product, also where multiply-adds
would do: these the compiler fuses into every reader of the layer, and computes them again for each (10 times slower).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops.instance_head._blocks import by_platform
from flax_dynconv.ops.instance_head._spec import Operands


def apply(spec, operands: Operands) -> jax.Array:
    """(B, N, P), block by block."""
    return by_platform(functools.partial(_apply, spec), spec.num_positions, _channels(operands), operands)


def pull_back(spec, operands: Operands, g: jax.Array) -> Operands:
    """The cotangents of all operands for g, (B, N, P), that of the logits."""
    return by_platform(functools.partial(_pull_back, spec), spec.num_positions, _channels(operands), operands, g)


def _channels(operands):
    """As many channels as the widest layer has: instances of one batch, in all."""
    return (*operands.biases[0].shape[:2], max(w.shape[-1] for w in operands.weights))


def _apply(spec, blocks, operands):
    rows = blocks.pad(_shared_rows(spec, operands))
    first, upper = _first_layer(spec, *operands[1:]), _transposed(operands.weights[1:])

    def block(index):
        x = _activations(spec, first, upper, operands.biases[1:], blocks.take(rows, index))
        return x[-1][:, :, 0]

    return blocks.join(lax.map(block, jnp.arange(blocks.count)))


def _pull_back(spec, blocks, operands, g):
    features, (_, *weights), (_, *biases), _, _ = operands
    rows, g = blocks.pad(_shared_rows(spec, operands)), blocks.pad(g)
    first, pull_first = jax.vjp(functools.partial(_first_layer, spec), *operands[1:])
    # Transposed outside of the loop: in it, the compiler folds a transposition into a slower kind of product.
    upper, of_features = _transposed(weights), jnp.transpose(first[..., : features.shape[-1]], (0, 3, 1, 2))
    zeros = (
        jnp.zeros_like(first),
        [(jnp.zeros_like(w), jnp.zeros_like(b)) for w, b in zip(weights, biases, strict=True)],
    )

    def block(sums, index):
        x, d = blocks.take(rows, index), blocks.take(g, index)[:, :, None]
        d, d_upper = _through_upper(spec, weights, _activations(spec, first, upper, biases, x), d)
        d_features = _dot(of_features, d, ((2, 3), (1, 2)), (0,), spec.precision)
        d_first = _dot(d, x, ((3,), (2,)), (0,), lax.Precision.HIGHEST)
        return jax.tree.map(jnp.add, sums, (d_first, d_upper)), d_features

    (d_first, d_upper), d_features = lax.scan(block, zeros, jnp.arange(blocks.count))
    d_weights, d_biases, d_locations, d_scales = pull_first(d_first)
    d_features = blocks.join(d_features).swapaxes(1, 2).reshape(features.shape)
    d_weights, d_biases = (d_weights[0], *(w for w, _ in d_upper)), (d_biases[0], *(b for _, b in d_upper))
    return Operands(d_features, d_weights, d_biases, d_locations, d_scales)


def _shared_rows(spec, operands):
    """[features, x, y, 1] of every pixel, (B, Cm + 3, P); without coordinates (B, Cm + 1, P)."""
    planes = spec.planes(operands.features)
    rows = [planes, jnp.ones_like(planes[:, :1])]
    if operands.locations is not None:
        grid = spec.grid(planes.dtype)
        grid = jnp.asarray(grid - spec.middle(grid))[None]
        rows.insert(1, jnp.broadcast_to(grid, (planes.shape[0], *grid.shape[1:])))
    return jnp.concatenate(rows, axis=1)


def _first_layer(spec, weights, biases, locations, scales):
    """The first layer as a matrix on the shared rows: (B, N, Cout, Cm + 3), or (B, N, Cout, Cm + 1).

    w (location - grid) / scale = -(w / scale) (grid - middle) + (w / scale) (location - middle)
    """
    w, b = weights[0], biases[0][:, :, None]
    if locations is not None:
        of_grid, w = w[:, :, :2] / scales[:, :, None, None], w[:, :, 2:]
        middle = jnp.asarray(spec.middle(spec.grid(w.dtype)))[:, 0]
        b = b + (of_grid * (locations - middle[None, None])[..., None]).sum(2, keepdims=True)
        w = jnp.concatenate([w, -of_grid], axis=2)
    return jnp.concatenate([w, b], axis=2).mT


def _activations(spec, first, upper, biases, rows):
    """What every layer gives in one block, (B, N, Cout, size) each, after its ReLU except in the last."""
    # The coordinates are among the rows: they need all their bits.
    outputs = [_dot(first, rows, ((3,), (1,)), (0,), lax.Precision.HIGHEST)]
    for w, b in zip(upper, biases, strict=True):
        outputs[-1] = jnp.maximum(outputs[-1], 0)
        outputs.append(_dot(w, outputs[-1], ((3,), (2,)), (0, 1), spec.precision) + b[..., None])
    return outputs


def _through_upper(spec, weights, activations, d):
    """From d at the logits to d at the first layer's result, and (d_weight, d_bias) of every layer above it."""
    gradients = []
    for x, w in zip(activations[-2::-1], weights[::-1], strict=True):
        gradients.append((_dot(x, d, ((3,), (3,)), (0, 1), spec.precision), d.sum(-1)))
        # Through a layer of one output it is an outer product, better not a matrix product.
        d = w * d if w.shape[-1] == 1 else _dot(w, d, ((3,), (2,)), (0, 1), spec.precision)
        d = jnp.where(x > 0, d, 0)
    return d, gradients[::-1]


def _transposed(weights):
    return [w.mT for w in weights]


def _dot(a, b, contracting, batch, precision):
    return lax.dot_general(a, b, (contracting, (batch, batch)), precision)
