"""The forms of `instance_head`, and one call of it as a case of the choice, with the work of each form."""

import dataclasses
from typing import ClassVar

from flax_dynconv.ops.choice.case import Case
from flax_dynconv.ops.choice.work import add, weighted
from flax_dynconv.ops.instance_head import products, reference, unrolled

IMPLEMENTATIONS = {'reference': reference, 'unrolled': unrolled, 'products': products}

# Weights of a network up to which it is written out: wider ones are no faster so, and take seconds to compile.
UNROLLED_WEIGHTS = 512
# What a symbolic number of instances counts as.
_ASSUMED_INSTANCES = 100


@dataclasses.dataclass(frozen=True)
class InstanceHeadCase(Case):
    """A small network per instance: channels of its layers, inputs first, and whether there are coordinates."""

    instances: object
    channels: tuple[int, ...]
    coordinates: bool

    operator: ClassVar[str] = 'instance_head'
    forms: ClassVar[dict] = IMPLEMENTATIONS

    @property
    def known(self) -> bool:
        """As `Case.known`, for the number of instances too."""
        return super().known and isinstance(self.instances, int)

    @property
    def num_weights(self) -> int:
        """Weights of one network, without its biases."""
        return sum(i * o for i, o in zip(self.channels, self.channels[1:], strict=False))

    def declines(self, form: str) -> str | None:
        """As `Case.declines`: every form can do every case."""
        return None

    def avoids(self, form: str, platform: str) -> str | None:
        """As `Case.avoids`."""
        if form == 'unrolled' and self.num_weights > UNROLLED_WEIGHTS:
            return f'{self.num_weights} weights written out take long to compile; up to {UNROLLED_WEIGHTS} are'
        return None

    def work(self, form: str) -> tuple[dict, dict]:
        """As `Case.work`: whatever the form, its gradient is matrix products on activations computed again."""
        instances = self.instances if isinstance(self.instances, int) else _ASSUMED_INSTANCES
        networks = self.samples * instances * self.spec.num_positions
        amount = 2 * networks * self.num_weights
        activations = 4 * networks * sum(self.channels)
        forward = {
            'unrolled': {'unrolled': amount, 'call': 1},
            'products': {'network': amount, 'call': 1},
            'reference': {'network': amount, 'elements': 3 * activations, 'call': 1},
        }[form]
        if form == 'reference':
            return forward, weighted([(3, forward)])
        return forward, add(forward, {'network': 3 * amount})

    def shapes(self) -> dict:
        """As `Case.shapes`."""
        first = (self.batch, self.instances)
        layers = list(zip(self.channels, self.channels[1:], strict=False))
        features = self.channels[0] - 2 * self.coordinates
        shapes = {
            'features': (self.batch, self.spec.height, self.spec.width, features),
            'weights': [(*first, i, o) for i, o in layers],
            'biases': [(*first, o) for _, o in layers],
        }
        return shapes | ({'locations': (*first, 2), 'scales': first} if self.coordinates else {})

    def options(self) -> dict:
        """As `Case.options`."""
        return {'stride': self.spec.stride, 'precision': self.spec.precision}
