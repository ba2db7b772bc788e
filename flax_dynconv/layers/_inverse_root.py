"""scale / sqrt(var + epsilon) to the last bit: an error in it is the same all over a channel and grows with depth."""

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_jvp
def scaled_inverse_root(scale: jax.Array, var: jax.Array, epsilon: jax.Array) -> jax.Array:
    """scale / sqrt(var + epsilon), all of one shape and dtype, float32 as float64 would round it.

    In plain float32 the sum, the root and the product each round, about 1e-7 together. Roundings of activations are
    different at each position and average out, this one is common to all positions of a channel. PyTorch computes
    it in float64 on CPUs.

    >>> float(scaled_inverse_root(jnp.float32(1.1), jnp.float32(0.3), jnp.float32(1e-3)))
    2.004977226257324
    """
    plain = scale * lax.rsqrt(var + epsilon)
    if plain.dtype != jnp.float32:
        return plain
    total = var + epsilon
    rest = jnp.where(var > epsilon, epsilon - (total - var), var - (total - epsilon))  # total + rest is exact
    root = lax.rsqrt(total)
    # One step of Newton's method: 1 - total * root^2 in products of 12 bits by 12, which float32 holds exactly.
    high, low = _split(root)
    square, square_rest = high * high, 2 * high * low + low * low
    (a, b), (c, d) = _split(total), _split(square)
    residual = (1 - a * c) - a * d - b * c - b * d - total * square_rest - rest * square
    product = scale * root
    e, f = _split(scale)
    product_rest = (e * high - product) + e * low + f * high + f * low
    exact = product + (product_rest + product * (residual / 2))
    return jnp.where(jnp.isfinite(exact), exact, plain)


@scaled_inverse_root.defjvp
def _jvp(primals, tangents):
    scale, var, epsilon = primals
    root = lax.rsqrt(var + epsilon)
    slope = -0.5 * scale * root * root * root
    return scaled_inverse_root(scale, var, epsilon), root * tangents[0] + slope * (tangents[1] + tangents[2])


def _split(x):
    """x as the sum of two numbers of at most 12 bits."""
    high = lax.reduce_precision(x, exponent_bits=8, mantissa_bits=11)
    return high, x - high
