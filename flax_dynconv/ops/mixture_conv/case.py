"""The forms of `mixture_conv`, and one call of it as a case of the choice."""

import dataclasses
from typing import ClassVar

from flax_dynconv.ops._dispatch import known_batch_of_one
from flax_dynconv.ops.choice.case import Case, conv_options
from flax_dynconv.ops.mixture_conv import blocks, columns, costs, features_in, features_out, loop, patches, reference
from flax_dynconv.ops.mixture_conv.mix_kernels import MixKernels
from flax_dynconv.ops.per_sample_conv import grouped, taps

IMPLEMENTATIONS = {
    'reference': reference,
    'grouped': MixKernels(grouped),
    'patches': patches,
    'loop': loop,
    'blocks': blocks,
    'columns': columns,
    'features_in': features_in,
    'features_out': features_out,
    'taps': MixKernels(taps),
}


@dataclasses.dataclass(frozen=True)
class MixtureCase(Case):
    """A convolution with a mixed kernel: size of the bank, weights (B, K, Cout) or (B, K), a tap_scale or none."""

    num_kernels: int
    per_output: bool
    taps: bool

    operator: ClassVar[str] = 'mixture_conv'
    forms: ClassVar[dict] = IMPLEMENTATIONS
    passes_apart: ClassVar[bool] = True

    def declines(self, form: str) -> str | None:
        """As `Case.declines`."""
        return self.forms[form].declines(self.spec, self.batch, self.num_kernels, self.per_output, self.taps)

    def avoids(self, form: str, platform: str) -> str | None:
        """As `Case.avoids`."""
        if platform == 'cpu':
            # XLA's CPU compiler takes 200 ms for a static 3x3 convolution of 2x2x512, and copies per kernel.
            slow = form == 'features_in' and self.declines('columns') is None
            return 'columns has the same products, in cache' if slow else None
        if form == 'loop' and not known_batch_of_one(self.batch):
            return 'samples one after another leave most of the device idle'
        if form == 'patches' and platform == 'tpu' and (self.spec.depthwise or not (self.per_output and self.taps)):
            return 'on TPU a kernel for every sample takes 5 to 80 times a static convolution'
        if form == 'features_in' and self.num_kernels == 1 and not self.taps:
            return 'features_out is the same for one kernel, with the factor on the output'
        if form == 'features_out' and self.num_kernels > 1 and not self.per_output:
            return 'features_in does the same and keeps no outputs of all kernels for its gradient'
        return None

    def work(self, form: str) -> tuple[dict, dict]:
        """As `Case.work`."""
        return costs.work(form, self)

    def shapes(self) -> dict:
        """As `Case.shapes`: channel scales are left out, which all forms apply alike."""
        spec, batch, k = self.spec, self.batch, self.num_kernels
        shapes = {
            'x': (batch, *spec.in_spatial, spec.in_features),
            'kernels': (k, *spec.kernel_shape),
            'weights': (batch, k, spec.out_features) if self.per_output else (batch, k),
        }
        return shapes | ({'tap_scale': (batch, *spec.kernel_size)} if self.taps else {})

    def options(self) -> dict:
        """As `Case.options`."""
        return conv_options(self.spec) | {'feature_group_count': self.spec.groups}
