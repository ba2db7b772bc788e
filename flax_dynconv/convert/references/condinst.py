"""CondInst: `MaskBranch` and `FCOSHead` of AdelaiDet; arguments by the names of its settings."""

from flax_dynconv.convert.arguments import Signature, flag, one_of, positive_int
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references._common import BATCH_NORM, dtype_fields
from flax_dynconv.convert.references._networks import CONV
from flax_dynconv.convert.references.condinst_mask_head import none_or
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import conv_kernel, identity
from flax_dynconv.models.condinst import FCOSHead, MaskBranch

BIASED = (Rule('weight', 'params/kernel', conv_kernel), Rule('bias', 'params/bias', identity))
_GROUP_NORM = (Rule('weight', 'params/scale', identity), Rule('bias', 'params/bias', identity))
_CONV_NORM = (*mount(CONV, '0', 'conv'), *mount(BATCH_NORM, '1', 'bn'))
# More than anybody has.
_MOST_LEVELS = 8


def groups_of_32(value):
    """A check: channels that group norms of 32 groups can have."""
    return None if positive_int(value) is None and value % 32 == 0 else 'a multiple of 32, the groups of the norms'


def mask_branch_rules(num_convs):
    """The table of a mask branch, with the semantic head if it has one."""
    return (
        *mount(_CONV_NORM, 'refine.{i}', 'refine_{i}'),
        *mount(_CONV_NORM, 'tower.{i}', 'tower_{i}'),
        *mount(BIASED, f'tower.{num_convs}', f'tower_{num_convs}'),
        *mount(_CONV_NORM, 'seg_head.{i}', 'seg_head_{i}'),
        *mount(BIASED, 'logits', 'logits'),
    )


def mask_branch_modules(num_convs):
    """The blocks of convolution, norm and activation; the last of the tower is a convolution alone."""
    blocks = '|'.join(map(str, range(num_convs)))
    numbers = {'refine': '', 'tower': f':{blocks}', 'seg_head': ''}
    return tuple(ModuleRule(f'{part}.{{i{these}}}', f'{part}_{{i{these}}}') for part, these in numbers.items())


def _mask_branch(args, dtype, param_dtype):
    return MaskBranch(
        features=args['out_channels'],
        channels=args['channels'],
        num_convs=args['num_convs'],
        num_classes=args['num_classes'] if args['semantic_loss_on'] else 0,
        **dtype_fields(dtype, param_dtype),
    )


def on_maps(module, *maps, **settings):
    """The call of a module that takes the maps of a pyramid as one argument."""
    return module(maps, **settings)


# Maps of P3 to P5 to mask features and, with the semantic head, its logits, which a case may leave out.
MASK_BRANCH = Reference(
    signature=Signature(
        {
            'in_channels': 256,
            'channels': 128,
            'num_convs': 4,
            'out_channels': 8,
            'semantic_loss_on': None,
            'num_classes': 80,
        },
        {
            'in_channels': positive_int,
            'channels': positive_int,
            'num_convs': positive_int,
            'out_channels': positive_int,
            'semantic_loss_on': none_or(flag),
            'num_classes': positive_int,
        },
        aliases={'cin': 'in_channels', 'ch': 'channels', 'nc': 'num_convs', 'cm': 'out_channels'},
    ),
    build=_mask_branch,
    rules=lambda args: mask_branch_rules(args['num_convs']),
    example=lambda args: tuple((2, n, n, args['in_channels']) for n in (8, 4, 2)),
    inputs=('channels_first',) * 3,
    outputs=('channels_first',) * 2,
    optional_outputs=1,
    modules=lambda args: mask_branch_modules(args['num_convs']),
    call=lambda train: {'method': on_maps, 'train': train},
    inferred={'semantic_loss_on': 'logits'},
)


def fcos_head_rules(num_convs):
    """The table of `FCOSHead`, without the controller, which in PyTorch is CondInst's own."""
    convs, norms = ('|'.join(str(3 * i + place) for i in range(num_convs)) for place in (0, 1))
    towers = [
        rule
        for name in ('cls_tower', 'bbox_tower')
        for numbers, table in ((convs, BIASED), (norms, _GROUP_NORM))
        for rule in mount(table, f'{name}.{{i:{numbers}}}', f'{name}_{{i:{numbers}}}')
    ]
    layers = [rule for name in ('cls_logits', 'bbox_pred', 'ctrness') for rule in mount(BIASED, name, name)]
    return (*towers, *layers, Rule('scales.{i}.scale', 'params/scales_{i}/scale', identity))


def _with_controller(args):
    rules = fcos_head_rules(args['num_convs'])
    inner = [rule._replace(torch=f'fcos_head.{rule.torch}') for rule in rules]
    return (*inner, *mount(BIASED, 'controller', 'controller'))


def by_level(logits, boxes, centerness, parameters):
    """The outputs of a head level by level, the finest first."""
    return [y for level in zip(logits, boxes, centerness, parameters, strict=True) for y in level]


# Maps of all levels to logits, distances, centerness and parameters of each level in turn.
FCOS_HEAD = Reference(
    signature=Signature(
        {'in_channels': 256, 'num_classes': 80, 'num_convs': 4, 'num_gen_params': 169, 'num_levels': 5},
        {
            'in_channels': groups_of_32,
            'num_classes': positive_int,
            'num_convs': positive_int,
            'num_gen_params': positive_int,
            'num_levels': one_of(*range(1, _MOST_LEVELS + 1)),
        },
        aliases={'ch': 'in_channels', 'ncls': 'num_classes', 'nc': 'num_convs', 'g': 'num_gen_params'}
        | {'levels': 'num_levels'},
    ),
    build=lambda args, dtype, param_dtype: FCOSHead(
        args['num_classes'], args['num_gen_params'], args['num_convs'], **dtype_fields(dtype, param_dtype)
    ),
    rules=_with_controller,
    example=lambda args: tuple((1, 4, 4, args['in_channels']) for _ in range(args['num_levels'])),
    inputs=('channels_first',) * _MOST_LEVELS,
    outputs=('channels_first',) * (4 * _MOST_LEVELS),
    call=lambda train: {'method': lambda head, *maps: by_level(*head(maps))},
)
