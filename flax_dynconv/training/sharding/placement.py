"""Where the arrays of a run lie, and the way from the rows that a host reads to a batch on all devices."""

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from flax_dynconv.training.sharding.mesh import AXES, make_mesh
from flax_dynconv.training.sharding.presets import PRESETS, bank_sizes
from flax_dynconv.training.sharding.rules import apply_rules


class Placement:
    """A mesh, rules for the state, and the batch divided over all axes of the mesh.

    Attributes:
      mesh: of `make_mesh`.
      rules: (regex, tactic) pairs for `apply_rules`.
      whole, split: the shardings of what every device has and of what has a batch as its first axis.

    >>> placement = Placement(make_mesh((1, 1, 1), jax.devices()[:1]))
    >>> placement.rows(4)
    array([0, 1, 2, 3])
    """

    def __init__(self, mesh, rules=()):
        self.mesh, self.rules = mesh, list(rules)
        self.whole = NamedSharding(mesh, PartitionSpec())
        self.split = NamedSharding(mesh, PartitionSpec(AXES))

    @classmethod
    def preset(cls, name, sizes=None, labels=None, params=None, devices=None, least=2**12):
        """The placement of a preset; `labels` (`param_labels`) and `params` tell 'expert' where the banks are.

        `sizes` of the mesh default to the preset's. Raises ValueError for an unknown preset or impossible sizes.
        """
        if name not in PRESETS:
            raise ValueError(f'sharding must be one of {sorted(PRESETS)}, got {name!r}')
        devices = jax.devices() if devices is None else list(devices)
        if sizes is None:
            kernels = bank_sizes(labels, params) if labels and params else []
            sizes = PRESETS[name].mesh(len(devices), kernels)
        return cls(make_mesh(sizes, devices), PRESETS[name].rules(labels or {}, least))

    def state(self, tree):
        """The sharding of every array of a state, by the rules."""
        return apply_rules(tree, self.rules, self.mesh)

    def templates(self, tree):
        """`jax.ShapeDtypeStruct`s of a state with their shardings: what a checkpoint is restored into."""
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            tree,
            self.state(tree),
        )

    def check(self, name, batch_size, parts=1):
        """ValueError unless a batch can be divided evenly over the devices, in `parts` one after another."""
        devices = self.mesh.size * parts
        if batch_size % devices:
            said = f'{self.mesh.size} devices' + (f' times accumulate = {parts}' if parts > 1 else '')
            raise ValueError(f'{name} must be a multiple of {said}, got {batch_size}')

    def rows(self, batch_size):
        """The positions in a batch of `batch_size` that this process feeds, in order."""
        indices = self.split.addressable_devices_indices_map((batch_size,)).values()
        return np.unique(np.concatenate([np.arange(batch_size)[index] for index in indices]))

    def batch(self, local, batch_size):
        """Arrays over all devices from the rows `rows(batch_size)` of every array of a batch."""
        rows = self.rows(batch_size)

        def place(array):
            array = np.asarray(array)

            def part(index):
                start, stop, _ = index[0].indices(batch_size)
                first = np.searchsorted(rows, start)
                return array[(slice(first, first + stop - start), *index[1:])]

            return jax.make_array_from_callback((batch_size, *array.shape[1:]), self.split, part)

        return jax.tree.map(place, local)

    def replicated(self, tree):
        """The tree whole on every device; every process gives the same values."""
        return jax.tree.map(
            lambda leaf: jax.make_array_from_callback(
                np.shape(leaf), self.whole, lambda index: np.asarray(leaf)[index]
            ),
            tree,
        )
