"""The forms of `per_position_conv`, and one call of it as a case of the choice."""

import dataclasses
from typing import ClassVar

from flax_dynconv.ops.choice.case import Case, conv_options
from flax_dynconv.ops.per_position_conv import costs, patches, reference, taps

IMPLEMENTATIONS = {'reference': reference, 'patches': patches, 'taps': taps}


@dataclasses.dataclass(frozen=True)
class PerPositionCase(Case):
    """A convolution with a kernel at every output position; `spec` is a PositionSpec."""

    operator: ClassVar[str] = 'per_position_conv'
    forms: ClassVar[dict] = IMPLEMENTATIONS

    def work(self, form: str) -> tuple[dict, dict]:
        """As `Case.work`."""
        return costs.work(form, self)

    def shapes(self) -> dict:
        """As `Case.shapes`."""
        x = (self.batch, *self.spec.in_spatial, self.spec.in_features)
        return {'x': x, 'kernels': (self.batch, *self.spec.kernel_shape)}

    def options(self) -> dict:
        """As `Case.options`."""
        return conv_options(self.spec)
