"""kaijieshi7/Dynamic-convolution-Pytorch: the networks `dy_resnet18` to `dy_resnet50`."""

from flax_dynconv.convert.arguments import Signature, positive_int, positive_number
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references import _resnet, dynconv
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references._networks import classifier
from flax_dynconv.models.resnets import dyconv_resnet

# The temperature is an attribute that starts at 34, in no state_dict: a case that names none was run with that.
_SIGNATURE = Signature(
    {'num_classes': 1000, 'temperature': 34}, {'num_classes': positive_int, 'temperature': positive_number}
)
_CONV = tuple(rule for rule in dynconv.rules(2) if rule.torch != 'bias')
_RULES = _resnet.rules(_CONV, downsample=_CONV)
_ATTENTIONS = (
    ModuleRule('layer{s}.{b}.conv{i}.attention', 'layer{s}_{b}/conv{i}/routing', 'as_is'),
    ModuleRule('layer{s}.{b}.downsample.0.attention', 'layer{s}_{b}/downsample_0/routing', 'as_is'),
)


def dy_resnet(depth: int) -> Reference:
    """The reference of one depth."""
    return classifier(
        _SIGNATURE,
        lambda args, dtype, param_dtype: dyconv_resnet(
            depth, num_classes=args['num_classes'], **dtype_fields(dtype, param_dtype)
        ),
        lambda args: _RULES,
        lambda args: (*_resnet.modules(depth), *_ATTENTIONS),
    )
