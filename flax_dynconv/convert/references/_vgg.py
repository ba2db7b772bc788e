"""What the references of VGGs share: PyTorch counts pooling, convolutions, norms and activations of a list."""

from collections.abc import Sequence

from flax_dynconv.convert.references._common import BATCH_NORM
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import conv_kernel, identity

BIASED = (Rule('weight', 'params/kernel', conv_kernel), Rule('bias', 'params/bias', identity))


def stage_length(stage: int, size: int) -> int:
    """Entries of a stage in the list: three for each convolution, and the pooling before it."""
    return 3 * size + (stage > 0)


def stage_rules(stage: int, size: int, torch: str, start: int = 0, flax: str = '') -> tuple[Rule, ...]:
    """The table of one stage, counted from 0, whose entries begin at `start` in the list called `torch`.

    `flax` is the place of the network here: nothing, or a path with a slash at its end.
    """
    table, first = [], start + (stage > 0)
    for i in range(size):
        table += mount(BIASED, f'{torch}.{first + 3 * i}', f'{flax}stage{stage + 1}_{i}/conv')
        table += mount(BATCH_NORM, f'{torch}.{first + 3 * i + 1}', f'{flax}stage{stage + 1}_{i}/bn')
    return tuple(table)


def list_rules(sizes: Sequence[int], torch: str) -> tuple[Rule, ...]:
    """The table of all stages in one list."""
    table, start = [], 0
    for stage, size in enumerate(sizes):
        table += stage_rules(stage, size, torch, start)
        start += stage_length(stage, size)
    return tuple(table)
