"""torchvision: the networks `resnet18` to `resnet101`."""

from flax_dynconv.convert.arguments import Signature, flag, positive_int
from flax_dynconv.convert.errors import ConversionError
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references import _resnet
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references._networks import CONV, classifier
from flax_dynconv.models.residual_blocks import BasicBlock
from flax_dynconv.models.resnets import DEPTHS, resnet

# Which of the last three stages dilate, and the stride that is left. Others skip a stage, which no `output_stride` is.
_STRIDES = {(False, False, False): None, (False, False, True): 16, (False, True, True): 8, (True, True, True): 4}


def _replaced(value):
    return None if value is None or value in _STRIDES else f'null or one of {[list(flags) for flags in _STRIDES]}'


# `zero_init_residual` is about initial values only.
_SIGNATURE = Signature(
    {'num_classes': 1000, 'zero_init_residual': False, 'replace_stride_with_dilation': None},
    {'num_classes': positive_int, 'zero_init_residual': flag, 'replace_stride_with_dilation': _replaced},
)
_RULES = _resnet.rules(CONV)


def _build(depth, args, dtype, param_dtype):
    stride = _STRIDES.get(args['replace_stride_with_dilation'])
    if stride and DEPTHS[depth]['block'] is BasicBlock:
        raise ConversionError(
            f"argument 'replace_stride_with_dilation': expected null for resnet{depth}, whose blocks cannot dilate in "
            f'torchvision, got {args["replace_stride_with_dilation"]}'
        )
    fields = {'num_classes': args['num_classes'], 'output_stride': stride}
    return resnet(depth, **fields, **dtype_fields(dtype, param_dtype))


def tv_resnet(depth: int) -> Reference:
    """The reference of one depth."""
    return classifier(
        _SIGNATURE,
        lambda args, dtype, param_dtype: _build(depth, args, dtype, param_dtype),
        lambda args: _RULES,
        lambda args: _resnet.modules(depth),
    )
