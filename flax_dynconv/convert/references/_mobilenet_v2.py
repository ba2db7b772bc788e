"""What the references of MobileNetV2 share: their state_dicts differ in the tables of the convolutions."""

from flax_dynconv.convert.reference import ModuleRule
from flax_dynconv.convert.references._networks import CONV, LINEAR, norm
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.models.mobilenet_v2 import STAGES


def _blocks():
    """(number in PyTorch's list of features, the block's name here, whether it expands)."""
    places = [(stage, i) for stage, row in enumerate(STAGES) for i in range(row.repeats)]
    return [(n, f'blocks_{stage}_{i}', n > 1) for n, (stage, i) in enumerate(places, start=1)]


LAST = len(_blocks()) + 1


def rules(conv: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The table of a MobileNetV2 in which all convolutions but the first are `conv`."""
    table = [*mount(CONV, 'features.0.0', 'stem'), *norm('features.0.1', 'stem_bn')]
    for n, block, expands in _blocks():
        prefix = f'features.{n}.conv'
        wide = ('expand', 'depthwise') if expands else ('depthwise',)
        for j, name in enumerate(wide):
            table += [*mount(conv, f'{prefix}.{j}.0', f'{block}/{name}')]
            table += [*norm(f'{prefix}.{j}.1', f'{block}/{name}_bn')]
        j = len(wide)
        table += [*mount(conv, f'{prefix}.{j}', f'{block}/project'), *norm(f'{prefix}.{j + 1}', f'{block}/project_bn')]
    table += [*mount(conv, f'features.{LAST}.0', 'head'), *norm(f'features.{LAST}.1', 'head_bn')]
    return (*table, *mount(LINEAR, 'classifier.1', 'classifier'))


MODULES = tuple(ModuleRule(f'features.{n}', block) for n, block, _ in _blocks())
