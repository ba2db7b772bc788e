"""mmsegmentation: the backbones `ResNetV1c` with their stage maps, as segmentation networks there use them.

Files of ImageNet classifiers (`open-mmlab://resnet50_v1c`) also hold `fc.weight` and `fc.bias`, which this backbone
does not have: they are dropped, and `to_torch` gives the state_dict without them. Every other key is used or an error.
"""

from flax_dynconv.convert.arguments import Signature, flag, one_of, positive_int
from flax_dynconv.convert.errors import ConversionError
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references import _resnet
from flax_dynconv.convert.references._common import BATCH_NORM, dtype_fields
from flax_dynconv.convert.references._networks import CONV
from flax_dynconv.convert.rules import mount
from flax_dynconv.models.resnets import resnet

# (strides, dilations) of the stages, and the output stride that is left.
_PLANS = {
    ((1, 2, 2, 2), (1, 1, 1, 1)): 32,
    ((1, 2, 2, 1), (1, 1, 1, 2)): 16,
    ((1, 2, 1, 1), (1, 1, 2, 4)): 8,
}


def _of_plans(index):
    known = list(dict.fromkeys(plan[index] for plan in _PLANS))
    return lambda value: None if value in known else f'one of {[list(numbers) for numbers in known]}'


def _stages(value):
    fine = isinstance(value, tuple) and value and len(set(value)) == len(value)
    return None if fine and all(type(n) is int and 0 <= n < 4 for n in value) else 'different ints from 0 to 3'


# As published networks for segmentation set them (D8): the constructor's own are those of a classifier.
DEFAULTS = {
    'in_channels': 3,
    'stem_channels': 64,
    'base_channels': 64,
    'strides': (1, 2, 1, 1),
    'dilations': (1, 1, 2, 4),
    'contract_dilation': True,
    'pixels': 64,
}
CHECKS = {
    'in_channels': positive_int,
    'stem_channels': positive_int,
    'base_channels': positive_int,
    'strides': _of_plans(0),
    'dilations': _of_plans(1),
    'contract_dilation': flag,
    'pixels': positive_int,
}
RULES = (
    *mount(CONV, 'stem.{i:[036]}', 'stem_{i:[036]}'),
    *mount(BATCH_NORM, 'stem.{i:[147]}', 'stem_{i:[147]}'),
    *(rule for rule in _resnet.rules(CONV) if rule.torch.startswith('layer')),
)


def backbone(depth, args, dtype, param_dtype):
    """The backbone of a depth, from arguments named as in `DEFAULTS`."""
    stride = _PLANS.get((args['strides'], args['dilations']))
    if stride is None:
        known = '; '.join(f'strides {list(strides)} with dilations {list(rates)}' for strides, rates in _PLANS)
        given = f'strides {list(args["strides"])} with dilations {list(args["dilations"])}'
        raise ConversionError(f"arguments 'strides' and 'dilations': expected {known}, got {given}")
    if stride != 32 and not args['contract_dilation']:
        raise ConversionError("argument 'contract_dilation': expected true where a stage dilates, got False")
    return resnet(
        depth,
        stem='deep',
        stem_features=args['stem_channels'],
        features=args['base_channels'],
        in_channels=args['in_channels'],
        output_stride=stride,
        num_classes=0,
        features_only=True,
        stem_map=False,
        stage_maps=args.get('out_indices'),
        **dtype_fields(dtype, param_dtype),
    )


def resnet_v1c(depth: int) -> Reference:
    """The reference of one depth: from images to the maps of the four stages, or of those in `out_indices`."""
    defaults = {'depth': depth, 'num_stages': 4, 'out_indices': (0, 1, 2, 3), 'style': 'pytorch', **DEFAULTS}
    checks = {'depth': one_of(depth), 'num_stages': one_of(4), 'out_indices': _stages, 'style': one_of('pytorch')}
    return Reference(
        signature=Signature(defaults, checks | CHECKS),
        build=lambda args, dtype, param_dtype: backbone(depth, args, dtype, param_dtype),
        rules=lambda args: RULES,
        example=lambda args: ((2, args['pixels'], args['pixels'], args['in_channels']),),
        outputs=('channels_first',) * 4,
        modules=lambda args: _resnet.modules(depth),
        call=lambda train: {'train': train},
        dropped=('fc.weight', 'fc.bias'),
    )
