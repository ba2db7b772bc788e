"""All that a training step reads and writes, as one pytree: what a checkpoint must hold."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

# Collections that a call writes for its caller to look at; they are no part of a model's state.
_PASSING = ('intermediates', 'perturbations')


class TrainState(struct.PyTreeNode):
    """Parameters, statistics, attention temperature, optimiser state, step (int32) and random key (key data)."""

    step: Any
    params: Any
    batch_stats: Any
    temperature: Any
    other: Any  # collections that training does not touch
    opt_state: Any
    rng: Any

    @classmethod
    def create(cls, variables, optimizer, key):
        """The state before the first step, from a model's variables, an optax optimiser and a random key."""
        collections = {name: tree for name, tree in variables.items() if name not in _PASSING}
        params = collections.pop('params')
        return cls(
            step=jnp.int32(0),
            params=params,
            batch_stats=collections.pop('batch_stats', {}),
            temperature=collections.pop('temperature', {}),
            other=collections,
            opt_state=optimizer.init(params),
            rng=jax.random.key_data(key),
        )

    @property
    def variables(self):
        """The variables to apply the model with."""
        trained = {'params': self.params, 'batch_stats': self.batch_stats, 'temperature': self.temperature}
        return {name: tree for name, tree in trained.items() if tree} | self.other

    def key(self):
        """A random key of this step alone."""
        return jax.random.fold_in(jax.random.wrap_key_data(self.rng), self.step)
