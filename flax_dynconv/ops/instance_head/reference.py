"""The definition of `instance_head`: coordinates and features side by side, one layer after the other."""

import jax
import jax.numpy as jnp

from flax_dynconv.ops.instance_head._spec import Operands, relative


def apply(spec, operands: Operands) -> jax.Array:
    """x_0 = [rel; F], x_{l+1} = ReLU(x_l W_l + b_l) without a ReLU after the last layer: (B, N, P)."""
    features, weights, biases, locations, scales = operands
    batch, instances = biases[0].shape[:2]
    x = features.reshape(batch, 1, spec.num_positions, features.shape[-1])
    x = jnp.broadcast_to(x, (batch, instances, *x.shape[2:]))
    if locations is not None:
        coordinates = relative(locations, scales, spec.grid(features.dtype))
        x = jnp.concatenate([jnp.stack(coordinates, axis=-1), x], axis=-1)
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = jax.nn.relu(x) if layer else x
        x = jnp.einsum('bnpi,bnio->bnpo', x, w, precision=spec.precision) + b[:, :, None]
    return x[..., 0]
