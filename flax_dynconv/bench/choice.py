"""The one place that asks the operators which forms they have and which of them `implementation=None` takes."""

import importlib

import jax

from flax_dynconv import ops
from flax_dynconv.ops._conv_spec import ConvSpec
from flax_dynconv.ops.choice import measuring
from flax_dynconv.ops.explain import case_of
from flax_dynconv.ops.shapes import Workload


def forms(workload: Workload) -> tuple[str, ...]:
    """The names of all forms of the workload's operator."""
    return tuple(_module(workload).IMPLEMENTATIONS)


def operator(workload: Workload):
    """The operator itself."""
    return getattr(_module(workload), workload.operator)


def conv_spec(workload: Workload) -> ConvSpec:
    """The sizes of the static convolution of the same shape; depthwise for shared kernels per position."""
    spec = workload.spec
    if workload.operator == 'per_position_conv' and workload.kernel_count is not None:
        return ConvSpec(**vars(spec) | {'groups': workload.in_features})
    return spec


def case(workload: Workload, batch: int):
    """The static case of the call, of which the choice is made."""
    return case_of(operator(workload), **_arrays(workload, batch), **workload.options)[0]


def chosen(workload: Workload, batch: int) -> tuple[str, str]:
    """The forms of the forward and the backward pass that `implementation=None` takes on this host."""
    told = ops.explain(operator(workload), **_arrays(workload, batch), **workload.options)
    return told.here, told.backward[measuring.platform()]


def _arrays(workload, batch):
    return {name: jax.ShapeDtypeStruct(shape, 'float32') for name, shape in workload.shapes(batch).items()}


def _module(workload):
    return importlib.import_module(f'flax_dynconv.ops.{workload.operator}.api')
