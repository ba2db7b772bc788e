"""Case: one call of an operator, as far as its choice depends on it; static and hashable, no arrays."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

# What a symbolic batch counts as, where work is estimated.
ASSUMED_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Case:
    """What all operators share. A subclass brings its forms, the shapes of a call and the work of each form."""

    spec: object
    batch: object
    dtype: np.dtype

    operator: ClassVar[str] = ''
    forms: ClassVar[Mapping[str, object]] = {}
    # Whether the forward and the backward pass may be those of two forms.
    passes_apart: ClassVar[bool] = False

    @property
    def known(self) -> bool:
        """Whether the batch is a number, not a symbol."""
        return isinstance(self.batch, int)

    @property
    def samples(self) -> int:
        """The batch, or what a symbolic one counts as."""
        return self.batch if self.known else ASSUMED_BATCH

    @property
    def itemsize(self) -> int:
        """Bytes of one element of x."""
        return self.dtype.itemsize

    def declines(self, form: str) -> str | None:
        """Why the form cannot do the case; None if it can."""
        return self.forms[form].declines(self.spec, self.batch)

    def avoids(self, form: str, platform: str) -> str | None:
        """Why `None` does not take the form there although it can do the case; None where only its time counts."""
        return None

    def work(self, form: str) -> tuple[dict, dict]:
        """What the form does by kind of work, forward, and forward with the gradients of all operands."""
        raise NotImplementedError

    def shapes(self) -> dict[str, object]:
        """Shapes of the arrays of a call by the operator's argument names (a list of them where it takes several)."""
        raise NotImplementedError

    def options(self) -> dict:
        """The static keyword arguments of a call with these arrays."""
        raise NotImplementedError


def conv_options(spec) -> dict:
    """The static keyword arguments of a ConvSpec that all convolutions take."""
    return {
        'strides': spec.strides, 'padding': spec.padding, 'input_dilation': spec.input_dilation,
        'kernel_dilation': spec.kernel_dilation, 'precision': spec.precision,
    }  # fmt: skip
