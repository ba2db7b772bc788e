"""Both adjoints of a per-sample convolution at once, some rows after others, so that patches stay in cache.

Strides of one. The patches are those of the cotangent around every input position: x = patches(y) w^T is whole for each
chunk of rows, and w = x^T patches(y) is a sum over the chunks.
"""

import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops._sharding import zeros
from flax_dynconv.ops.choice.case import ASSUMED_BATCH
from flax_dynconv.ops.per_sample_conv.patches import contract, contract_dtype

# Bytes of the patches of one chunk, and of one sample's kernel up to which all kernels stay in cache beside them.
# Measured on CPU, B = 8: at 56x56x64 chunks of 2 to 4 MB take two thirds of the static convolution's gradient; at
# 28x28x128 (kernels of 590 KB) the form is no faster than others.
_CHUNK_BYTES = 4 * 2**20
_KERNEL_BYTES = 256 * 2**10


def suits(spec, batch, dtype) -> bool:
    """Whether this is the form for these sizes: many positions, small kernels, strides of one."""
    if spec.groups > 1 or spec.num_taps == 1 or not spec.unit_strides or 0 in (spec.in_features, *spec.in_spatial):
        return False
    kernel = spec.num_taps * spec.in_features * spec.out_features * jnp.promote_types(dtype, jnp.float32).itemsize
    rows = spec.in_spatial[0]
    return kernel <= _KERNEL_BYTES and rows // _rows(spec, batch) <= max(32, rows // 2)


def _rows(spec, batch) -> int:
    """Rows of a chunk: the largest divisor of their number whose patches are small enough."""
    batch = batch if isinstance(batch, int) else ASSUMED_BATCH
    rows, positions = spec.in_spatial[0], 1
    for n in spec.in_spatial[1:]:
        positions *= n
    row = 4 * batch * positions * spec.num_taps * spec.out_features
    most = min(rows, max(1, _CHUNK_BYTES // max(row, 1)))
    return max(n for n in range(1, most + 1) if rows % n == 0)


def adjoints(spec, x, w, y):
    """(adjoint_x(y, w), adjoint_w(x, y)) in the accumulation dtype."""
    b, c, o, t, acc = x.shape[0], spec.in_features, spec.out_features, spec.num_taps, contract_dtype(x, w, y)
    padded = spec.mirrored.pad(y)
    reach = (spec.kernel_size[0] - 1) * spec.kernel_dilation[0]
    # Taps mirrored: where a tap read at +t, its cotangent comes from -t.
    matrix = jnp.moveaxis(w.reshape(b, t, c, o)[:, ::-1], 1, 2).reshape(b, c, t * o)
    rows = _rows(spec, b)
    shape = (b, rows, *spec.in_spatial[1:])

    def step(i, carry):
        dx, dw = carry
        near = lax.dynamic_slice_in_dim(padded, i * rows, rows + reach, 1)
        slices = []
        for tap in spec.taps():
            start = [k * d for k, d in zip(tap, spec.kernel_dilation, strict=True)]
            limit = [a + n for a, n in zip(start, shape[1:], strict=True)]
            slices.append(lax.slice(near, (0, *start, 0), (near.shape[0], *limit, o)))
        patches = jnp.concatenate(slices, -1).reshape(b, -1, t * o)
        here = lax.dynamic_slice_in_dim(x, i * rows, rows, 1).reshape(b, -1, c)
        chunk = contract('bpo,bio->bpi', patches, matrix, acc, spec.precision).reshape(*shape, c)
        dw = dw + contract('bpi,bpo->bio', here, patches, acc, spec.precision)
        return lax.dynamic_update_slice_in_dim(dx, chunk, i * rows, 1), dw

    initial = zeros(x.shape, acc, like=x), zeros((b, c, t * o), acc, like=x)
    dx, dw = lax.fori_loop(0, spec.in_spatial[0] // rows, step, initial)
    dw = jnp.moveaxis(dw.reshape(b, c, t, o), 2, 1)[:, ::-1]
    return dx, dw.reshape(b, *spec.kernel_shape)
