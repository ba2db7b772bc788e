"""Training and evaluation steps: pure functions of state and batch, compiled once for their placement."""

import functools

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import PartitionSpec

from flax_dynconv.layers import set_temperature
from flax_dynconv.training import ema
from flax_dynconv.training.monitoring.attention_entropy import attention_entropy
from flax_dynconv.training.sharding.mesh import AXES


def train_step(
    model,
    task,
    optimizer,
    temperature,
    *,
    rate=None,
    placement=None,
    accumulate=1,
    ema_decay=None,
    batch_statistics='global',
    skip_nonfinite=False,
):
    """A function (state, batch) -> (state, metrics, figures) for one step of `optimizer`, to be compiled by `jitted`.

    `temperature(step)` sets the attention temperature of every layer that has one; the state keeps it, so that an
    evaluation in between sees the temperature of training. `metrics` are the task's sums. `figures` are float32
    scalars: `loss` that was minimised, `gradient_norm` before clipping, `learning_rate`, `temperature`, and
    `attention_entropy` in nats where the network has attention; `finite` says whether loss and norm are numbers.

    * `accumulate`: the batch is divided into that many parts, one after another; gradients are averaged. Statistics
      of batch norm then are those of a part and are updated with each.
    * `batch_statistics`: 'global', batch norm sees the whole batch, wherever it lies; 'device', each device's part of
      it is computed by itself, and gradients, statistics and metrics are averaged at the end.
    * `skip_nonfinite`: a step whose loss or gradient is NaN or infinite changes nothing but the counters.

    With a `placement` parameters are gathered once in a step, whatever their rules, and gradients are divided again:
    activations and per-sample kernels never travel.
    """

    def whole(tree):
        return tree if placement is None else lax.with_sharding_constraint(tree, placement.whole)

    def gradient(params, rest, batch, key):
        """Mean gradient of a batch, the new statistics, its metrics and its figures."""

        def objective(params):
            outputs, updates = model.apply(
                {**rest, 'params': params},
                *task.inputs(batch),
                train=True,
                mutable=['batch_stats', 'intermediates'],
                rngs={'dropout': key},
            )
            loss, metrics = _loss_and_metrics(task, outputs, batch)
            entropy = attention_entropy(updates.get('intermediates', {}))
            figures = {'loss': loss} | ({} if entropy is None else {'attention_entropy': entropy})
            return loss, (updates.get('batch_stats', {}), metrics, figures)

        (_, aux), grads = jax.value_and_grad(objective, has_aux=True)(params)
        return (grads, *aux)

    def gradient_by_device(params, rest, batch, key):
        @functools.partial(
            jax.shard_map,
            mesh=placement.mesh,
            in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(AXES), PartitionSpec()),
            out_specs=PartitionSpec(),
            check_vma=False,  # gradients of the replicated parameters are averaged below, once
        )
        def local(params, rest, batch, key):
            key = jax.random.fold_in(jax.random.wrap_key_data(key), lax.axis_index(AXES))
            grads, statistics, metrics, figures = gradient(params, rest, batch, key)
            grads, statistics, figures = lax.pmean((grads, statistics, figures), AXES)
            return grads, statistics, lax.psum(metrics, AXES), figures

        return local(params, rest, batch, jax.random.key_data(key))

    gradient_of = gradient
    if batch_statistics == 'device' and placement is not None:
        gradient_of = gradient_by_device

    def accumulated(params, rest, batch, key):
        if accumulate == 1:
            return gradient_of(params, rest, batch, key)

        def part(statistics, numbered):
            number, batch = numbered
            variables = {**rest, 'batch_stats': statistics} if statistics else rest
            grads, new, metrics, figures = gradient_of(params, variables, batch, jax.random.fold_in(key, number))
            return new, (grads, metrics, figures)

        def first(statistics, numbered):
            new, (grads, metrics, figures) = part(statistics, numbered)
            return (new, grads, metrics, figures), None

        def further(carry, numbered):
            statistics, *sums = carry
            new, values = part(statistics, numbered)
            return (new, *jax.tree.map(jnp.add, sums, list(values))), None

        parts = jax.tree.map(functools.partial(_parts, count=accumulate, placement=placement), batch)
        carry, _ = first(rest.get('batch_stats', {}), (0, jax.tree.map(lambda x: x[0], parts)))
        numbers = jnp.arange(1, accumulate)
        carry, _ = lax.scan(further, carry, (numbers, jax.tree.map(lambda x: x[1:], parts)))
        statistics, grads, metrics, figures = carry
        grads, figures = jax.tree.map(lambda x: x / accumulate, (grads, figures))
        return grads, statistics, metrics, figures

    def step(state, batch):
        updates = state.step - state.skipped  # What the optimiser counts.
        degrees = jnp.asarray(temperature(state.step), jnp.float32)
        if state.temperature:
            state = state.replace(temperature=_tempered(state.temperature, degrees))
        rest = {name: tree for name, tree in state.variables.items() if name != 'params'}
        grads, statistics, metrics, figures = accumulated(whole(state.params), whole(rest), batch, state.key())
        statistics = whole(statistics)  # Divided, they would divide the means of the batch with them.
        if placement is not None:
            grads = lax.with_sharding_constraint(grads, placement.state({'params': grads})['params'])
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(grads)))
        finite = jnp.isfinite(figures['loss']) & jnp.isfinite(norm)
        changes, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, changes)
        new = state.replace(params=params, batch_stats=statistics or state.batch_stats, opt_state=opt_state)
        if state.ema:
            averaged = {'params': new.params, 'batch_stats': new.batch_stats}
            new = new.replace(ema=ema.follow(state.ema, averaged, ema_decay, updates))
        if skip_nonfinite:
            new = jax.tree.map(functools.partial(jnp.where, finite), new, state)
            new = new.replace(skipped=state.skipped + ~finite)
        figures |= {
            'gradient_norm': norm,
            'learning_rate': jnp.float32(jnp.nan) if rate is None else jnp.asarray(rate(updates), jnp.float32),
            'temperature': degrees,
            'finite': finite,
        }
        figures = {name: jnp.asarray(value, jnp.float32) for name, value in figures.items()}
        return new.replace(step=state.step + 1), metrics, figures

    return step


def eval_step(model, task):
    """A function (variables, batch) -> the task's metrics, with running statistics and no dropout.

    Outputs are the model's, or those of `task.predict` where the task has one.
    """

    def step(variables, batch):
        if hasattr(task, 'predict'):
            return task.metrics(task.predict(model, variables, batch), batch)
        return task.metrics(model.apply(variables, *task.inputs(batch), train=False), batch)

    return step


def jitted(train, test, placement, state):
    """Both steps compiled for a placement when first called; `state` gives the shapes; the old state is donated."""
    shardings = placement.state(state)
    variables = placement.state(state.evaluated)
    train = jax.jit(
        train,
        donate_argnums=0,
        in_shardings=(shardings, placement.split),
        out_shardings=(shardings, placement.whole, placement.whole),
    )

    def gathered(variables, batch):
        return test(lax.with_sharding_constraint(variables, placement.whole), batch)

    return train, jax.jit(gathered, in_shardings=(variables, placement.split), out_shardings=placement.whole)


def _loss_and_metrics(task, outputs, batch):
    if hasattr(task, 'loss_and_metrics'):
        return task.loss_and_metrics(outputs, batch)
    return task.loss(outputs, batch), task.metrics(outputs, batch)


def _parts(array, count, placement):
    """(batch, ...) as (count, batch / count, ...): row i is in part i % count, so that no row changes its device."""
    parts = jnp.swapaxes(array.reshape(-1, count, *array.shape[1:]), 0, 1)
    if placement is None:
        return parts
    spec = PartitionSpec(None, *placement.split.spec)
    return lax.with_sharding_constraint(parts, jax.sharding.NamedSharding(placement.mesh, spec))


def _tempered(collection, value):
    return set_temperature({'temperature': collection}, value)['temperature']
