"""torchvision: the networks `mobilenet_v2`, `mobilenet_v3_small` and `mobilenet_v3_large`."""

from flax_dynconv.convert.arguments import Signature, positive_int, positive_number, probability
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references import _mobilenet_v2
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references._networks import CONV, LINEAR, POINTWISE, classifier, norm
from flax_dynconv.convert.rules import mount
from flax_dynconv.models.mobile import round_channels
from flax_dynconv.models.mobilenet_v2 import mobilenetv2

_SIGNATURE = Signature(
    {'num_classes': 1000, 'width_mult': 1.0, 'dropout': 0.2},
    {'num_classes': positive_int, 'width_mult': positive_number, 'dropout': probability},
)
_V2_RULES = _mobilenet_v2.rules(CONV)


def _build(network, args, dtype, param_dtype):
    fields = {'num_classes': args['num_classes'], 'width': args['width_mult'], 'dropout': args['dropout']}
    return network(**fields, **dtype_fields(dtype, param_dtype))


TV_MOBILENET_V2 = classifier(
    _SIGNATURE,
    lambda args, dtype, param_dtype: _build(mobilenetv2, args, dtype, param_dtype),
    lambda args: _V2_RULES,
    lambda args: _mobilenet_v2.MODULES,
    dropout=('dropout',),
)


def _v3_rules(stages, width):
    """A block's list of layers has no expansion where the width stays, and no squeeze where there is none."""
    table = [*mount(CONV, 'features.0.0', 'stem'), *norm('features.0.1', 'stem_bn')]
    inputs = round_channels(16 * width)
    for n, row in enumerate(stages):
        block, place, j = f'features.{n + 1}.block', f'blocks_{n}_0', 0
        expanded = round_channels(row.expanded * width)
        for name in ('expand', 'depthwise', 'se', 'project'):
            if (name == 'expand' and expanded == inputs) or (name == 'se' and not row.squeeze):
                continue
            if name == 'se':
                table += mount(POINTWISE, f'{block}.{j}.fc1', f'{place}/se/reduce')
                table += mount(POINTWISE, f'{block}.{j}.fc2', f'{place}/se/expand')
            else:
                table += mount(CONV, f'{block}.{j}.0', f'{place}/{name}')
                table += norm(f'{block}.{j}.1', f'{place}/{name}_bn')
            j += 1
        inputs = round_channels(row.features * width)
    last = f'features.{len(stages) + 1}'
    table += [*mount(CONV, f'{last}.0', 'head'), *norm(f'{last}.1', 'head_bn')]
    return (*table, *mount(LINEAR, 'classifier.0', 'hidden'), *mount(LINEAR, 'classifier.3', 'classifier'))


def tv_mobilenet_v3(network) -> Reference:
    """The reference of the small or the large network, given its constructor."""
    stages = network().stages
    return classifier(
        _SIGNATURE,
        lambda args, dtype, param_dtype: _build(network, args, dtype, param_dtype),
        lambda args: _v3_rules(stages, args['width_mult']),
        lambda args: tuple(ModuleRule(f'features.{n + 1}', f'blocks_{n}_0') for n in range(len(stages))),
        dropout=('dropout',),
    )
