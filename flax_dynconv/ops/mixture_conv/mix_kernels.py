"""Mix the kernels of every sample, then a fast form of `per_sample_conv`; the mixed kernels are never saved."""

import dataclasses
from types import ModuleType

from jax import lax

from flax_dynconv.ops import _bilinear
from flax_dynconv.ops.mixture_conv.mixing import mix


@dataclasses.dataclass(frozen=True)
class MixKernels:
    """The mixture form over one per-sample form."""

    per_sample: ModuleType

    def declines(self, spec, batch, num_kernels, per_output, taps):
        """As the per-sample form: mixing itself can do every case."""
        return self.per_sample.declines(spec, batch)

    def apply(self, spec, out_dtype, x, kernels, weights, tap_scale):
        """y[b] = conv(x[b], tap_scale[b] sum_k weights[b, k] kernels[k])."""
        # Not before x is there: a block's shared routing would else let kernels of several layers exist at once.
        x, weights = lax.optimization_barrier((x, weights))
        w = mix(kernels, weights, tap_scale, x.dtype)
        return _bilinear.apply(self.per_sample, spec, out_dtype, x, w)
