"""`ODConv2D`: ODConv of a linear bottleneck without norm or activation, a module that circulates in PyTorch."""

from flax_dynconv.convert.arguments import Signature, one_of, positive_int, square_ints
from flax_dynconv.convert.reference import Reference
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
from flax_dynconv.layers import PlainODConv

_DEFAULTS = {**CONV_DEFAULTS, 'K': 3, 'r': 4, 'dropout_rate': 0.2}  # dropout_rate is accepted there and never used

_RULES = (
    *BANK,
    *linear_rules('_attention_fn.fc', 'routing/hidden'),
    *linear_rules('_attention_fn.fc_as', 'routing/spatial'),
    *linear_rules('_attention_fn.fc_ac', 'routing/channel'),
    *linear_rules('_attention_fn.fc_af', 'routing/filter'),
    *linear_rules('_attention_fn.fc_an', 'routing/kernel'),
)


# Its spatial attention has one size, its channel attention one entry per input channel, which
# broadcasts against the kernels without groups only.
_CHECKS = CONV_CHECKS | {'kernel_size': square_ints(2), 'groups': one_of(1), 'K': positive_int, 'r': positive_int}


def _build(args, dtype, param_dtype):
    own = {'num_kernels': args['K'], 'squeeze': args['r']}
    return PlainODConv(**biased_conv_fields(args), **own, **dtype_fields(dtype, param_dtype))


ODCONV2D = Reference(
    signature=Signature(_DEFAULTS, checked(_DEFAULTS, _CHECKS), aliases={'num_experts': 'K'}),
    build=_build,
    rules=lambda args: _RULES,
    example=biased_conv_example,
)
