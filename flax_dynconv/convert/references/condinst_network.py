"""CondInst: the whole network of AdelaiDet on detectron2's ResNets; arguments by the names of its settings."""

from flax_dynconv.convert.arguments import Signature, flag, one_of, positive_int
from flax_dynconv.convert.errors import ConversionError
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references import condinst, detectron2
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references.condinst_mask_head import buffers, none_or, sizes
from flax_dynconv.convert.rules import mount
from flax_dynconv.models.condinst import SIZES_OF_INTEREST, STRIDES
from flax_dynconv.models.condinst import condinst as network

_LEVELS = len(STRIDES)


def _sizes(value):
    return f'{_LEVELS} ints >= 1, one for each level' if sizes(value) or len(value) != _LEVELS else None


# `num_cls_convs` and `num_box_convs` must be equal, as they are in every published setting.
_SIGNATURE = Signature(
    {
        'depth': 50,
        **detectron2.DEFAULTS,
        'fpn_out_channels': 256,
        'num_classes': 80,
        'num_cls_convs': 4,
        'num_box_convs': 4,
        'mask_branch_channels': 128,
        'mask_branch_num_convs': 4,
        'mask_branch_out_channels': 8,
        'mask_head_channels': 8,
        'mask_head_num_layers': 3,
        'disable_rel_coords': False,
        'sizes_of_interest': SIZES_OF_INTEREST,
        'semantic_loss_on': None,
        'pixels': 64,
    },
    {
        'depth': one_of(50, 101),
        **detectron2.CHECKS,
        'fpn_out_channels': condinst.groups_of_32,
        'num_classes': positive_int,
        'num_cls_convs': positive_int,
        'num_box_convs': positive_int,
        'mask_branch_channels': positive_int,
        'mask_branch_num_convs': positive_int,
        'mask_branch_out_channels': positive_int,
        'mask_head_channels': positive_int,
        'mask_head_num_layers': positive_int,
        'disable_rel_coords': flag,
        'sizes_of_interest': _sizes,
        'semantic_loss_on': none_or(flag),
        'pixels': positive_int,
    },
)


def _build(args, dtype, param_dtype):
    if args['num_cls_convs'] != args['num_box_convs']:
        raise ConversionError(
            f"arguments 'num_cls_convs' and 'num_box_convs': expected equal ones, got {args['num_cls_convs']} and "
            f'{args["num_box_convs"]}'
        )
    return network(
        f'resnet{args["depth"]}',
        **detectron2.backbone_fields(args),
        channels=args['fpn_out_channels'],
        num_classes=args['num_classes'],
        tower_convs=args['num_cls_convs'],
        branch_channels=args['mask_branch_channels'],
        branch_convs=args['mask_branch_num_convs'],
        mask_channels=args['mask_branch_out_channels'],
        head_channels=args['mask_head_channels'],
        head_depth=args['mask_head_num_layers'],
        relative_coordinates=not args['disable_rel_coords'],
        sizes_of_interest=args['sizes_of_interest'],
        semantic=args['semantic_loss_on'] is not False,
        **dtype_fields(dtype, param_dtype),
    )


def _rules(args):
    pyramid = [f'fpn_{kind}{{i}}' for kind in ('lateral', 'output')]
    return (
        *mount(detectron2.RULES, 'backbone.bottom_up', 'backbone'),
        *(rule for name in pyramid for rule in mount(condinst.BIASED, f'backbone.{name}', f'fpn/{name}')),
        *mount(condinst.BIASED, 'backbone.top_block.p{i}', 'fpn/top_block_p{i}'),
        *mount(condinst.fcos_head_rules(args['num_cls_convs']), 'proposal_generator.fcos_head', 'fcos_head'),
        *mount(condinst.BIASED, 'controller', 'fcos_head/controller'),
        *mount(condinst.mask_branch_rules(args['mask_branch_num_convs']), 'mask_branch', 'mask_branch'),
    )


def _modules(args):
    parts = {
        ('backbone.bottom_up', 'backbone'): detectron2.MODULES,
        ('mask_branch', 'mask_branch'): condinst.mask_branch_modules(args['mask_branch_num_convs']),
    }
    return tuple(
        ModuleRule(f'{torch}.{rule.torch}', f'{flax}/{rule.flax}')
        for (torch, flax), rules in parts.items()
        for rule in rules
    )


def _raw(model, images, train):
    maps = model(images, train)
    semantic = [] if maps.semantic is None else [maps.semantic]
    return [*condinst.by_level(*maps[:4]), maps.mask_features, *semantic]


# Images to logits, distances, centerness and parameters of each level in turn, mask features and, with the semantic
# head, its logits, which a case may leave out.
CONDINST = Reference(
    signature=_SIGNATURE,
    build=_build,
    rules=_rules,
    example=lambda args: ((2, args['pixels'], args['pixels'], 3),),
    outputs=('channels_first',) * (4 * _LEVELS + 2),
    optional_outputs=1,
    modules=_modules,
    call=lambda train: {'method': _raw, 'train': train},
    inferred={'semantic_loss_on': 'logits'},
    buffers=lambda args: {f'mask_head.{key}': value for key, value in buffers(args['sizes_of_interest']).items()},
)
