"""torchvision: the networks `shufflenet_v2_x0_5` to `shufflenet_v2_x2_0`."""

from flax_dynconv.convert.arguments import Signature, positive_int
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references._networks import CONV, LINEAR, classifier, norm
from flax_dynconv.convert.rules import mount
from flax_dynconv.models.shufflenet_v2 import shufflenetv2

_SIGNATURE = Signature({'num_classes': 1000}, {'num_classes': positive_int})
# (branch, place of the convolution in its list of layers, name here); the norm comes next in the list.
_LAYERS = (
    (1, 0, 'left_depthwise'),
    (1, 2, 'left_project'),
    (2, 0, 'expand'),
    (2, 3, 'depthwise'),
    (2, 5, 'project'),
)
_BLOCK, _PLACE = 'stage{s}.{b}', 'stage{s}_{b}'
_RULES = (
    *mount(CONV, 'conv1.0', 'stem'),
    *norm('conv1.1', 'stem_bn'),
    *(rule for branch, i, name in _LAYERS for rule in mount(CONV, f'{_BLOCK}.branch{branch}.{i}', f'{_PLACE}/{name}')),
    *(rule for branch, i, name in _LAYERS for rule in norm(f'{_BLOCK}.branch{branch}.{i + 1}', f'{_PLACE}/{name}_bn')),
    *mount(CONV, 'conv5.0', 'head'),
    *norm('conv5.1', 'head_bn'),
    *mount(LINEAR, 'fc', 'classifier'),
)


def tv_shufflenet_v2(size: float) -> Reference:
    """The reference of one size."""
    stages = enumerate(shufflenetv2(size).stage_sizes, start=2)
    modules = (
        ModuleRule(_BLOCK, _PLACE),
        # The output of a stage is that of its last block.
        *(ModuleRule(f'stage{stage}', f'stage{stage}_{blocks - 1}') for stage, blocks in stages),
    )
    return classifier(
        _SIGNATURE,
        lambda args, dtype, param_dtype: shufflenetv2(
            size, num_classes=args['num_classes'], **dtype_fields(dtype, param_dtype)
        ),
        lambda args: _RULES,
        lambda args: modules,
    )
