"""What the references of ResNets share: their state_dicts differ in the tables of the convolutions."""

from flax_dynconv.convert.reference import ModuleRule
from flax_dynconv.convert.references._networks import CONV, LINEAR, norm
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.models.resnets import DEPTHS


def rules(conv: tuple[Rule, ...], downsample: tuple[Rule, ...] = CONV) -> tuple[Rule, ...]:
    """The table of a ResNet whose blocks have convolutions `conv` and shortcuts `downsample`."""
    return (
        *mount(CONV, 'conv1', 'conv1'),
        *norm('bn1', 'bn1'),
        *mount(conv, 'layer{s}.{b}.conv{i}', 'layer{s}_{b}/conv{i}'),
        *norm('layer{s}.{b}.bn{i}', 'layer{s}_{b}/bn{i}'),
        *mount(downsample, 'layer{s}.{b}.downsample.0', 'layer{s}_{b}/downsample_0'),
        *norm('layer{s}.{b}.downsample.1', 'layer{s}_{b}/downsample_1'),
        *mount(LINEAR, 'fc', 'fc'),
    )


def modules(depth: int) -> tuple[ModuleRule, ...]:
    """Blocks, shortcuts and stages: the output of a stage is that of its last block."""
    stages = enumerate(DEPTHS[depth]['stage_sizes'], start=1)
    return (
        ModuleRule('layer{s}.{b}', 'layer{s}_{b}'),
        ModuleRule('layer{s}.{b}.downsample', 'layer{s}_{b}/downsample_1'),
        *(ModuleRule(f'layer{stage}', f'layer{stage}_{size - 1}') for stage, size in stages),
    )
