"""Sharding rules: a list of (regular expression, tactic), applied to every array of a state by its path."""

import re

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec


def replicate(shape, mesh):
    """Whole on every device."""
    return PartitionSpec()


def fsdp(shape, mesh, least=2**12):
    """Split over 'fsdp' along the longest axis that it divides; arrays of fewer than `least` elements stay whole.

    >>> from flax_dynconv.training.sharding import make_mesh
    >>> tuple(fsdp((3, 3, 64, 128), make_mesh((1, 1, 1), jax.devices()[:1])))
    (None, None, None, 'fsdp')
    """
    size = mesh.shape['fsdp']
    fitting = [axis for axis, length in enumerate(shape) if length % size == 0]
    if np.prod(shape) < least or not fitting:
        return PartitionSpec()
    longest = max(fitting, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*(None,) * longest, 'fsdp')


def expert(shape, mesh):
    """Split over 'model' along the first axis, the kernels of a bank; ValueError where they do not divide."""
    if not shape or shape[0] % mesh.shape['model']:
        raise ValueError(
            f"expert must have a number of kernels that the mesh axis 'model' ({mesh.shape['model']}) divides, "
            f'got a bank of shape {tuple(shape)}'
        )
    return PartitionSpec('model')


TACTICS = {'replicate': replicate, 'fsdp': fsdp, 'expert': expert}


def apply_rules(tree, rules, mesh):
    """The tree with a `NamedSharding` in the place of every array.

    A path reads 'params/layer1_0/conv1/kernel' ('/' between names). The first rule (regex, tactic) whose regex is
    found in it decides; what no rule names is replicated. A tactic is a name in `TACTICS`, a function
    (shape, mesh) -> PartitionSpec, or a PartitionSpec. The moments of an optimiser lie under paths that end as those of
    their parameters, so a rule that ends in `kernel$` holds for both.

    Raises ValueError for an unknown tactic and for a spec that does not fit the array, naming its path.

    >>> from flax_dynconv.training.sharding import make_mesh
    >>> mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    >>> tree = {'params': {'kernel': np.zeros((4, 3, 3, 8, 8)), 'bias': np.zeros(8)}}
    >>> tuple(apply_rules(tree, [('kernel$', 'expert')], mesh)['params']['kernel'].spec)
    ('model',)
    """
    compiled = [(re.compile(pattern), _tactic(tactic)) for pattern, tactic in rules]

    def place(keys, leaf):
        path = jax.tree_util.keystr(keys, simple=True, separator='/')
        tactic = next((tactic for pattern, tactic in compiled if pattern.search(path)), replicate)
        try:
            sharding = NamedSharding(mesh, tactic(leaf.shape, mesh))
            sharding.shard_shape(leaf.shape)
        except ValueError as error:
            raise ValueError(f'sharding of {path} {tuple(leaf.shape)}: {error}') from error
        return sharding

    return jax.tree.map_with_path(place, tree)


def _tactic(tactic):
    if isinstance(tactic, PartitionSpec):
        return lambda shape, mesh: tactic
    if callable(tactic):
        return tactic
    if tactic not in TACTICS:
        raise ValueError(f'a tactic must be one of {sorted(TACTICS)}, a PartitionSpec or a function, got {tactic!r}')
    return TACTICS[tactic]
