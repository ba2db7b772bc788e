"""All that a training step reads and writes, as one pytree: what a checkpoint must hold."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

# Collections that a call writes for its caller to look at; they are no part of a model's state.
_PASSING = ('intermediates', 'perturbations')


class TrainState(struct.PyTreeNode):
    """Parameters, statistics, attention temperature, optimiser state, averages, counters and random key (key data).

    `step` counts steps (int32), `skipped` those whose update was left out because loss or gradient was no number;
    `ema` is {} or averages of `params` and `batch_stats`.
    """

    step: Any
    skipped: Any
    params: Any
    batch_stats: Any
    temperature: Any
    other: Any  # collections that training does not touch
    opt_state: Any
    ema: Any
    rng: Any

    @classmethod
    def create(cls, variables, optimizer, key, ema=False):
        """The state before the first step, from a model's variables, an optax optimiser and a random key."""
        collections = {name: tree for name, tree in variables.items() if name not in _PASSING}
        params = collections.pop('params')
        batch_stats = collections.pop('batch_stats', {})
        # Copies: the arrays of a state are donated, each once.
        average = jax.tree.map(jnp.array, {'params': params, 'batch_stats': batch_stats}) if ema else {}
        return cls(
            step=jnp.int32(0),
            skipped=jnp.int32(0),
            params=params,
            batch_stats=batch_stats,
            temperature=collections.pop('temperature', {}),
            other=collections,
            opt_state=optimizer.init(params),
            ema=average,
            rng=jax.random.key_data(key),
        )

    @property
    def variables(self):
        """The variables to train the model with."""
        trained = {'params': self.params, 'batch_stats': self.batch_stats, 'temperature': self.temperature}
        return {name: tree for name, tree in trained.items() if tree} | self.other

    @property
    def evaluated(self):
        """The variables to evaluate: the averages, where there are any."""
        return self.variables | {name: tree for name, tree in self.ema.items() if tree}

    def key(self):
        """A random key of this step alone."""
        return jax.random.fold_in(jax.random.wrap_key_data(self.rng), self.step)
