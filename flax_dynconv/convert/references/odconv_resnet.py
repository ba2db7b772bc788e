"""OSVAI/ODConv: the networks `od_resnet18` to `od_resnet101` of `models/od_resnet.py`."""

from flax_dynconv.convert.arguments import Signature, positive_int, positive_number, probability
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references import _resnet, odconv
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references._networks import classifier
from flax_dynconv.models.resnets import odconv_resnet

_SIGNATURE = Signature(
    {'num_classes': 1000, 'dropout': 0.1, 'reduction': 0.0625, 'kernel_num': 1},
    {'num_classes': positive_int, 'dropout': probability, 'reduction': positive_number, 'kernel_num': positive_int},
)
# Stem, shortcuts and classifier are static, the convolutions of the blocks are ODConv.
_RULES = _resnet.rules(odconv.RULES)


def fields(args):
    """Fields of `odconv_resnet` and `odconv_mobilenetv2` from the arguments of ODConv's constructors."""
    return {
        'num_kernels': args['kernel_num'],
        'reduction': args['reduction'],
        'num_classes': args['num_classes'],
        'dropout': args['dropout'],
    }


def od_resnet(depth: int) -> Reference:
    """The reference of one depth."""
    return classifier(
        _SIGNATURE,
        lambda args, dtype, param_dtype: odconv_resnet(depth, **fields(args), **dtype_fields(dtype, param_dtype)),
        lambda args: _RULES,
        lambda args: _resnet.modules(depth),
        dropout=('dropout',),
    )
