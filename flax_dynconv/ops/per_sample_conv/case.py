"""The forms of `per_sample_conv`, and one call of it as a case of the choice."""

import dataclasses
from typing import ClassVar

from flax_dynconv.ops._dispatch import known_batch_of_one
from flax_dynconv.ops.choice.case import Case, conv_options
from flax_dynconv.ops.per_sample_conv import costs, grouped, loop, patches, reference, taps

IMPLEMENTATIONS = {'reference': reference, 'grouped': grouped, 'patches': patches, 'loop': loop, 'taps': taps}


@dataclasses.dataclass(frozen=True)
class PerSampleCase(Case):
    """A convolution with a kernel for every sample."""

    operator: ClassVar[str] = 'per_sample_conv'
    forms: ClassVar[dict] = IMPLEMENTATIONS

    def avoids(self, form: str, platform: str) -> str | None:
        """As `Case.avoids`."""
        if form == 'loop' and platform != 'cpu' and not known_batch_of_one(self.batch):
            return 'samples one after another leave most of the device idle'
        return None

    def work(self, form: str) -> tuple[dict, dict]:
        """As `Case.work`."""
        return costs.work(form, self.spec, self.samples, self.itemsize)

    def shapes(self) -> dict:
        """As `Case.shapes`."""
        x = (self.batch, *self.spec.in_spatial, self.spec.in_features)
        return {'x': x, 'kernel': (self.batch, *self.spec.kernel_shape)}

    def options(self) -> dict:
        """As `Case.options`."""
        return conv_options(self.spec) | {'feature_group_count': self.spec.groups}
