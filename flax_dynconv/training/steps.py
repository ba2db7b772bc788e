"""Training and evaluation steps: pure functions of state and batch, compiled once."""

import jax
import optax

from flax_dynconv.layers import set_temperature


def train_step(model, task, optimizer, temperature):
    """A compiled function (state, batch) -> (state, metrics) for one step of `optimizer`.

    `temperature(step)` sets the attention temperature of every layer that has one; the state keeps it, so that an
    evaluation in between sees the temperature of training. `metrics` are the task's, with `'step_loss'`, the scalar
    that was minimised. The old state is donated.
    """

    def step(state, batch):
        if state.temperature:
            state = state.replace(temperature=_tempered(state.temperature, temperature(state.step)))

        def objective(params):
            outputs, updates = model.apply(
                {**state.variables, 'params': params},
                *task.inputs(batch),
                train=True,
                mutable=['batch_stats'],
                rngs={'dropout': state.key()},
            )
            return task.loss(outputs, batch), (outputs, updates)

        (loss, (outputs, updates)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        changes, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, changes),
            batch_stats=updates.get('batch_stats', state.batch_stats),
            opt_state=opt_state,
        )
        return state, {**task.metrics(outputs, batch), 'step_loss': loss}

    return jax.jit(step, donate_argnums=0)


def eval_step(model, task):
    """A compiled function (variables, batch) -> the task's metrics, with running statistics and no dropout."""

    def step(variables, batch):
        return task.metrics(model.apply(variables, *task.inputs(batch), train=False), batch)

    return jax.jit(step)


def _tempered(collection, value):
    return set_temperature({'temperature': collection}, value)['temperature']
