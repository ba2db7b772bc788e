"""Three ways to lay a training state on a mesh, and when to use each.

* `replicate`: every device has everything. Use it while parameters, optimiser state and averages fit a device: nothing
  travels but sums: of the gradients and of batch norm.
* `fsdp`: every array of the state but the small ones is divided over the devices, and whole only while a step runs.
  Use it when the optimiser's state, the averages and the banks of K kernels are what fills the memory: K kernels cost
  K times as much of it, and their gathering costs their bytes once in a step.
* `expert`: banks are divided by kernels, and everything else is replicated. Use it when the banks alone are too much
  and the number of kernels divides: the whole of a kernel stays on one device, as for saving or exchanging single
  kernels. In a soft mixture every sample uses every kernel, so this saves memory and no arithmetic, and banks are
  gathered as in fsdp.

In all three the batch is divided over all devices, the activations stay where their samples are, and the steps give
the same numbers.
"""

import functools
import math
import re
from typing import NamedTuple

import jax

from flax_dynconv.training.sharding.rules import fsdp


class Preset(NamedTuple):
    """How big the mesh is without further word, and the rules, which may look at the labels of the parameters."""

    mesh: object  # (devices, kernels) -> sizes of ('data', 'fsdp', 'model')
    rules: object  # (labels, least elements that are worth dividing) -> [(regex, tactic)]


def bank_sizes(labels, params):
    """The numbers of kernels of all banks among the parameters (labels as `param_labels` gives them)."""
    pairs = zip(jax.tree.leaves(labels), jax.tree.leaves(params), strict=True)
    return sorted({leaf.shape[0] for label, leaf in pairs if label == 'kernel_bank'})


def _expert_mesh(devices, kernels):
    common = math.gcd(devices, *kernels) if kernels else 1
    if devices > 1 and kernels and common == 1:
        raise ValueError(
            f"sharding must not be 'expert' where no number divides the {devices} devices and the kernels of every "
            f'bank ({", ".join(map(str, kernels))})'
        )
    return (-1, 1, common)


def _expert_rules(labels, least):
    paths = jax.tree_util.tree_flatten_with_path(labels)[0]
    banks = [
        re.escape(jax.tree_util.keystr(keys, simple=True, separator='/'))
        for keys, label in paths
        if label == 'kernel_bank'
    ]
    return [(f'(^|/)({"|".join(banks)})$', 'expert')] if banks else []


PRESETS = {
    'replicate': Preset(lambda devices, kernels: (-1, 1, 1), lambda labels, least: []),
    'fsdp': Preset(
        lambda devices, kernels: (1, -1, 1), lambda labels, least: [('', functools.partial(fsdp, least=least))]
    ),
    'expert': Preset(_expert_mesh, _expert_rules),
}
