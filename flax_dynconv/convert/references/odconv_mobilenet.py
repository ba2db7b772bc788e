"""OSVAI/ODConv: the networks `od_mobilenetv2_050` to `od_mobilenetv2_100` of `models/od_mobilenetv2.py`."""

from flax_dynconv.convert.arguments import Signature, positive_int, positive_number, probability
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references import _mobilenet_v2, odconv
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references._networks import classifier
from flax_dynconv.convert.references.odconv_resnet import fields
from flax_dynconv.models.mobilenet_v2 import odconv_mobilenetv2

_SIGNATURE = Signature(
    {'num_classes': 1000, 'dropout': 0.2, 'reduction': 0.0625, 'kernel_num': 1},
    {'num_classes': positive_int, 'dropout': probability, 'reduction': positive_number, 'kernel_num': positive_int},
)
_RULES = _mobilenet_v2.rules(odconv.RULES)


def od_mobilenetv2(width: float) -> Reference:
    """The reference of one width."""
    return classifier(
        _SIGNATURE,
        lambda args, dtype, param_dtype: odconv_mobilenetv2(
            width=width, **fields(args), **dtype_fields(dtype, param_dtype)
        ),
        lambda args: _RULES,
        lambda args: _mobilenet_v2.MODULES,
        dropout=('dropout',),
    )
