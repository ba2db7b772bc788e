"""torchvision: the networks `vgg16_bn` and `vgg19_bn`."""

from flax_dynconv.convert.arguments import Signature, flag, positive_int, probability
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references import _vgg
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references._networks import LINEAR, classifier
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import Transform, identity
from flax_dynconv.models.vggs import vgg

# `init_weights` is about initial values only.
_SIGNATURE = Signature(
    {'num_classes': 1000, 'init_weights': True, 'dropout': 0.5},
    {'num_classes': positive_int, 'init_weights': flag, 'dropout': probability},
)


def _flattened(bins):
    """(out, C * bins * bins) <-> (bins * bins * C, out): a linear layer on a map that was flattened."""
    return Transform(
        lambda x: x.reshape(len(x), -1, bins * bins).transpose(2, 1, 0).reshape(-1, len(x)),
        lambda x: x.reshape(bins * bins, -1, x.shape[1]).transpose(2, 1, 0).reshape(x.shape[1], -1),
    )


def tv_vgg(depth: int) -> Reference:
    """The reference of one depth."""
    network = vgg(depth)
    rules = (
        *_vgg.list_rules(network.stage_sizes, 'features'),
        Rule('classifier.0.weight', 'params/hidden_0/kernel', _flattened(network.bins)),
        Rule('classifier.0.bias', 'params/hidden_0/bias', identity),
        *mount(LINEAR, 'classifier.3', 'hidden_1'),
        *mount(LINEAR, 'classifier.6', 'classifier'),
    )
    return classifier(
        _SIGNATURE,
        lambda args, dtype, param_dtype: vgg(
            depth, num_classes=args['num_classes'], dropout=args['dropout'], **dtype_fields(dtype, param_dtype)
        ),
        lambda args: rules,
        lambda args: (ModuleRule('classifier', 'classifier', 'as_is'),),
        dropout=('dropout',),
    )
