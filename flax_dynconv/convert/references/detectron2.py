"""detectron2: the backbones `R-50` and `R-101` with frozen norms, as published for MSRA's ImageNet weights."""

from flax_dynconv.convert.arguments import Signature, flag, one_of, positive_int
from flax_dynconv.convert.errors import ConversionError
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references._common import BATCH_NORM, dtype_fields
from flax_dynconv.convert.references._networks import CONV
from flax_dynconv.convert.rules import mount
from flax_dynconv.models.resnets import resnet

STAGES = ('res2', 'res3', 'res4', 'res5')
# Bottlenecks end with four times the channels of their 3x3 convolutions.
_EXPANSION = 4

# detectron2's FrozenBatchNorm2d: four buffers and no counter of batches.
_FROZEN_NORM = tuple(rule for rule in BATCH_NORM if rule.torch != 'num_batches_tracked')


def _conv_norm(torch, conv, norm):
    """The table of a convolution that owns its norm."""
    return (*mount(CONV, torch, conv), *mount(_FROZEN_NORM, f'{torch}.norm', norm))


def _block_rules(stage, layer):
    return (
        *_conv_norm(f'{stage}.{{b}}.conv{{i}}', f'{layer}_{{b}}/conv{{i}}', f'{layer}_{{b}}/bn{{i}}'),
        *_conv_norm(f'{stage}.{{b}}.shortcut', f'{layer}_{{b}}/downsample_0', f'{layer}_{{b}}/downsample_1'),
    )


def _block_modules(stage, layer):
    """The output of a convolution there is that of its norm."""
    return (
        ModuleRule(f'{stage}.{{b}}.conv{{i}}', f'{layer}_{{b}}/bn{{i}}'),
        ModuleRule(f'{stage}.{{b}}.shortcut', f'{layer}_{{b}}/downsample_1'),
        ModuleRule(f'{stage}.{{b}}', f'{layer}_{{b}}'),
    )


_LAYERS = tuple((stage, f'layer{number}') for number, stage in enumerate(STAGES, start=1))
RULES = (
    *_conv_norm('stem.conv1', 'conv1', 'bn1'),
    *(rule for stage, layer in _LAYERS for rule in _block_rules(stage, layer)),
)
MODULES = (
    ModuleRule('stem.conv1', 'bn1'),
    *(rule for stage, layer in _LAYERS for rule in _block_modules(stage, layer)),
)
DEFAULTS = {'stride_in_1x1': True, 'stem_out_channels': 64, 'res2_out_channels': 256}
CHECKS = {'stride_in_1x1': flag, 'stem_out_channels': positive_int, 'res2_out_channels': positive_int}


def backbone_fields(args):
    """The fields of a `ResNet` from arguments named as in `DEFAULTS`."""
    if args['res2_out_channels'] % _EXPANSION:
        raise ConversionError(
            f"argument 'res2_out_channels': expected a multiple of {_EXPANSION}, got {args['res2_out_channels']}"
        )
    return {
        'features': args['res2_out_channels'] // _EXPANSION,
        'stem_features': args['stem_out_channels'],
        'stride_in_1x1': args['stride_in_1x1'],
    }


def _stages(value):
    fine = isinstance(value, tuple) and value and set(value) <= set(STAGES)
    return None if fine and list(value) == [s for s in STAGES if s in value] else f'some of {STAGES} in this order'


def _build(depth, args, dtype, param_dtype):
    return resnet(
        depth,
        num_classes=0,
        in_channels=3,
        features_only=True,
        stem_map=False,
        stage_maps=tuple(STAGES.index(stage) for stage in args['out_features']),
        **backbone_fields(args),
        **dtype_fields(dtype, param_dtype),
    )


def d2_resnet(depth: int) -> Reference:
    """The reference of one depth: from images to the maps of the stages in `out_features`; norms never train."""
    defaults = {'depth': depth, 'out_features': STAGES, **DEFAULTS, 'pixels': 64}
    checks = {'depth': one_of(depth), 'out_features': _stages, **CHECKS, 'pixels': positive_int}
    return Reference(
        signature=Signature(defaults, checks),
        build=lambda args, dtype, param_dtype: _build(depth, args, dtype, param_dtype),
        rules=lambda args: RULES,
        example=lambda args: ((2, args['pixels'], args['pixels'], 3),),
        outputs=('channels_first',) * len(STAGES),
        modules=lambda args: MODULES,
        call=lambda train: {'train': False},
        # What published files have beyond the backbone: the classifier, and a bias that the norm makes void.
        dropped=('stem.conv1.bias', 'fc1000.weight', 'fc1000.bias', 'stem.fc.weight', 'stem.fc.bias'),
    )
