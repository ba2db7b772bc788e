"""The CPU's form: the multiply-adds of the per-sample form `taps`, with one kernel that every sample broadcasts."""

from flax_dynconv.ops.per_sample_conv import _taps_cpu
from flax_dynconv.ops.per_sample_conv.patches import contract_dtype
from flax_dynconv.ops.per_sample_conv.taps import fold, repeat


def apply(spec, out_dtype, x, w):
    """y = sum_t shift_t(x) w_t for x (B, *spatial, Cin), w (*kernel_size, 1, Cout)."""
    return _taps_cpu.correlate(spec, out_dtype, repeat(spec, x), w[None])


def adjoint_x(spec, out_dtype, y, w):
    """x = sum_t unshift_t(y w_t)."""
    return fold(spec, _taps_cpu.correlate_back(spec, contract_dtype(y, w), y, w[None])).astype(out_dtype)


def adjoint_w(spec, out_dtype, x, y):
    """w_t = sum over samples and positions of shift_t(x) y."""
    return _taps_cpu.kernel_gradient(spec, contract_dtype(x, y), repeat(spec, x), y).sum(0).astype(out_dtype)
