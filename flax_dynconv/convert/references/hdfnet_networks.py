"""HDFNet: the networks `HDFNet_VGG16`, `HDFNet_VGG19` and `HDFNet_Res50` of lartpang/HDFNet."""

from flax_dynconv.convert.arguments import Signature, flag, positive_int
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references import _vgg
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references._networks import CONV, norm
from flax_dynconv.convert.references.hdfnet import BASIC, DDPM_RULES, DENSE_TRANS
from flax_dynconv.convert.rules import mount
from flax_dynconv.models.saliency_networks import hdfnet
from flax_dynconv.models.vggs import vgg

# The levels of the decoder, coarsest first: stride in PyTorch's names -> name here. The first three make filters.
_VGG_LEVELS = {16: 4, 8: 3, 4: 2, 2: 1, 1: 0}
_RESNET_LEVELS = {32: 4, 16: 3, 8: 2, 4: 1, 2: 0}
_DYNAMIC = 3
_ENCODERS = ('encoder', 'depth_encoder')
_BRANCHES = (1, 3, 5)


def _decoder_rules(levels):
    table = [*mount(_vgg.BIASED, 'classifier', 'classifier')]
    for place, (stride, level) in enumerate(levels.items()):
        table += mount(BASIC, f'upconv{stride}', f'upconv_{level}')
        table += mount(_vgg.BIASED, f'trans{stride}', f'trans_{level}')
        if place < _DYNAMIC:
            table += mount(DENSE_TRANS, f'depth_trans{stride}', f'depth_trans_{level}')
            table += mount(DDPM_RULES, f'selfdc_{stride}', f'selfdc_{level}')
    return table


def _decoder_modules(levels):
    pairs = []
    for place, (stride, level) in enumerate(levels.items()):
        pairs.append((f'upconv{stride}', f'upconv_{level}'))
        if place < _DYNAMIC:
            pyramid = f'selfdc_{stride}', f'selfdc_{level}'
            pairs += [(f'depth_trans{stride}', f'depth_trans_{level}'), pyramid]
            pairs += [(f'{pyramid[0]}.branch_{d}', f'{pyramid[1]}/branch_{d}') for d in _BRANCHES]
    return [ModuleRule(*pair) for pair in pairs]


def hdfnet_vgg(depth: int) -> Reference:
    """The reference of the network on two VGGs of this depth."""
    sizes = vgg(depth).stage_sizes
    rules, modules = _decoder_rules(_VGG_LEVELS), _decoder_modules(_VGG_LEVELS)
    for name in _ENCODERS:
        for stage, size in enumerate(sizes):
            torch, flax = f'{name}{2**stage}', f'{name}/'
            rules += _vgg.stage_rules(stage, size, torch, flax=flax)
            modules.append(ModuleRule(torch, f'{flax}stage{stage + 1}_{size - 1}'))
    return _reference(f'vgg{depth}_bn', tuple(rules), tuple(modules))


def hdfnet_resnet(depth: int) -> Reference:
    """The reference of the network on two ResNets of bottlenecks of this depth."""
    levels = _RESNET_LEVELS
    rules = [*_decoder_rules(levels), *mount(BASIC, 'upconv1', 'upconv_image')]
    modules = [*_decoder_modules(levels), ModuleRule('upconv1', 'upconv_image')]
    for name in _ENCODERS:
        rules += [*mount(CONV, f'{name}2.0', f'{name}/conv1'), *norm(f'{name}2.1', f'{name}/bn1')]
        for stage in (1, 2, 3, 4):
            # Before the first stage there is the pooling, the first of a list of two.
            torch = f'{name}4.1.{{b}}' if stage == 1 else f'{name}{2 ** (stage + 1)}.{{b}}'
            flax = f'{name}/layer{stage}_{{b}}'
            rules += [*mount(CONV, f'{torch}.conv{{i}}', f'{flax}/conv{{i}}')]
            rules += [*norm(f'{torch}.bn{{i}}', f'{flax}/bn{{i}}')]
            rules += [*mount(CONV, f'{torch}.downsample.0', f'{flax}/downsample_0')]
            rules += [*norm(f'{torch}.downsample.1', f'{flax}/downsample_1')]
            modules.append(ModuleRule(torch, flax))
    return _reference(f'resnet{depth}', tuple(rules), tuple(modules))


def _reference(encoder, rules, modules):
    # `pretrained` is about initial values only.
    return Reference(
        signature=Signature({'pretrained': True, 'pixels': 64}, {'pretrained': flag, 'pixels': positive_int}),
        build=lambda args, dtype, param_dtype: hdfnet(encoder, probabilities=True, **dtype_fields(dtype, param_dtype)),
        rules=lambda args: rules,
        example=lambda args: tuple((2, args['pixels'], args['pixels'], channels) for channels in (3, 1)),
        inputs=('channels_first', 'channels_first'),
        modules=lambda args: modules,
        call=lambda train: {'train': train},
    )
