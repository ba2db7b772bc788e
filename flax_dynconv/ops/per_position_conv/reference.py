"""The definition of `per_position_conv`: every output position has its own kernel. Differentiates both ways."""

import jax.numpy as jnp
import numpy as np


def declines(spec, batch):
    """Nothing is declined."""
    return None


def _windows(spec, x):
    """(B, *out_spatial, *kernel_size, Cin): element (b, p, t) is the padded x at [b, p * stride + t * dilation]."""
    sizes = zip(spec.out_spatial, spec.kernel_size, spec.strides, spec.kernel_dilation, strict=True)
    for d, (out, kernel, stride, dilation) in enumerate(sizes):
        index = np.arange(out)[:, None] * stride + np.arange(kernel) * dilation
        # Axes so far: B, d pairs of (position, tap), then the spatial axes that are still to come.
        x = jnp.take(x, index, axis=1 + 2 * d)
    n = spec.ndim
    return jnp.transpose(x, (0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1))


def apply(spec, out_dtype, x, w):
    """y[b,p,c] = sum_t w[b,p,t,c // (Cin/G)] windows[b,p,t,c], or sum_{t,c} w[b,p,t,c,o] windows[b,p,t,c]."""
    windows = _windows(spec, spec.pad(x))
    acc = jnp.promote_types(jnp.promote_types(x.dtype, w.dtype), jnp.float32)
    b, taps, positions = x.shape[0], spec.num_taps, spec.num_positions
    windows = windows.reshape(b, positions, taps, spec.in_features).astype(acc)
    w = w.reshape(b, positions, taps, *w.shape[1 + 2 * spec.ndim :]).astype(acc)
    if spec.full:
        y = jnp.einsum('bptc,bptco->bpo', windows, w, precision=spec.precision)
    else:
        y = (windows * jnp.repeat(w, spec.in_features // spec.kernel_count, axis=-1)).sum(2)
    return y.reshape(b, *spec.out_spatial, spec.out_features).astype(out_dtype)
