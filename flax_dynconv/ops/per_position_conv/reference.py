"""The definition of `per_position_conv`: every output position has its own kernel. Differentiates both ways."""

import jax.numpy as jnp


def declines(spec, batch):
    """Nothing is declined."""
    return None


def apply(spec, out_dtype, x, w):
    """y[b,p,c] = sum_t w[b,p,t,c // (Cin/G)] windows[b,p,t,c], or sum_{t,c} w[b,p,t,c,o] windows[b,p,t,c]."""
    acc = jnp.promote_types(jnp.promote_types(x.dtype, w.dtype), jnp.float32)
    windows, w = spec.flatten_taps(spec.windows(spec.pad(x))).astype(acc), spec.flatten_taps(w).astype(acc)
    if spec.full:
        y = jnp.einsum('b...tc,b...tco->b...o', windows, w, precision=spec.precision)
    else:
        w = jnp.repeat(w, spec.in_features // spec.kernel_count, axis=-1)
        y = (windows * w).sum(1 + spec.ndim)
    return y.astype(out_dtype)
