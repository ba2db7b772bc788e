"""`DyNet2D`: per-sample DyNet with a softmax over the kernels, a module that circulates in PyTorch."""

from flax_dynconv.convert.arguments import Signature, positive_int
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references._common import (
    BANK,
    CONV_CHECKS,
    CONV_DEFAULTS,
    biased_conv_example,
    biased_conv_fields,
    checked,
    dtype_fields,
    linear_rules,
)
from flax_dynconv.layers import SoftmaxDyNetConv

_DEFAULTS = {**CONV_DEFAULTS, 'num_experts': 3, 'dropout_rate': 0.2}

# The rows of the linear layer are ordered as the Flax layer's: by kernel, then by channel.
_RULES = (*BANK, *linear_rules('_coefficient_fn.fc', 'routing/logits'))


def _build(args, dtype, param_dtype):
    own = {'num_kernels': args['num_experts'], 'dropout_rate': args['dropout_rate']}
    return SoftmaxDyNetConv(**biased_conv_fields(args), **own, **dtype_fields(dtype, param_dtype))


DYNET2D = Reference(
    signature=Signature(
        _DEFAULTS, checked(_DEFAULTS, CONV_CHECKS | {'num_experts': positive_int}), aliases={'K': 'num_experts'}
    ),
    build=_build,
    rules=lambda args: _RULES,
    example=biased_conv_example,
    modules=lambda args: (ModuleRule('_coefficient_fn', 'routing', 'as_is'),),
    dropout=('dropout_rate',),
)
