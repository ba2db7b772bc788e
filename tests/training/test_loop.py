"""The loop and its steps on a task that is no image classification."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.training import loop, steps
from flax_dynconv.training.state import TrainState
from tests.training.toy import SETTINGS, Dynamic, Linear, Regression, leaves


def test_one_step_is_sgd_with_weight_decay():
    settings = dataclasses.replace(SETTINGS, weight_decay=0.1, momentum=0.5)
    task, model = Regression(), Linear()
    optimizer, rate = loop.make_optimizer(settings, 2)
    state = loop.initial_state(model, task, settings)
    batches = list(task.batches('train', 4))
    step = steps.train_step(model, task, optimizer, lambda step: 1.0)

    w, b = (np.asarray(state.params['Dense_0'][name], np.float64) for name in ('kernel', 'bias'))
    velocity = [np.zeros_like(w), np.zeros_like(b)]
    for i, batch in enumerate(batches):
        x = batch['x'].reshape(4, -1).astype(np.float64)
        error = (x @ w)[:, 0] + b - batch['y']
        gradient = [2 * x.T @ error[:, None] / 4, np.array([2 * error.mean()])]
        velocity = [0.5 * v + g + 0.1 * p for v, g, p in zip(velocity, gradient, (w, b), strict=True)]
        w, b = w - float(rate(i)) * velocity[0], b - float(rate(i)) * velocity[1]
        state, metrics = step(state, batch)
        assert float(metrics['step_loss']) == pytest.approx((error**2).mean(), rel=1e-5)
    np.testing.assert_allclose(state.params['Dense_0']['kernel'], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.params['Dense_0']['bias'], b, rtol=1e-5, atol=1e-6)
    assert int(state.step) == 2


def test_fit_records_every_epoch_and_learns():
    task, seen, losses = Regression(train=50), [], []
    settings = dataclasses.replace(SETTINGS, epochs=10, batch_size=5, learning_rate=0.02)
    state, history, compile_seconds = loop.fit(
        Linear(), task, settings, on_step=lambda step, loss: losses.append((step, loss)), on_epoch=seen.append
    )
    assert seen == history
    assert [record['epoch'] for record in history] == list(range(1, 11))
    assert [step for step, _ in losses] == list(range(100))
    assert int(state.step) == 100
    assert history[0]['train']['count'] == 50
    assert history[0]['test']['count'] == 7  # two batches of 5, the last of 2: none lost, none twice
    assert history[-1]['test']['loss'] < 0.01 * losses[0][1]
    assert compile_seconds > 0
    assert all(record['seconds'] > 0 for record in history)
    assert {epoch for epoch, _ in task.seen} == set(range(10))


def test_the_last_evaluation_batch_is_masked():
    task, model = Regression(test=7), Linear()
    state = loop.initial_state(model, task, SETTINGS)
    step = steps.eval_step(model, task)
    one_by_one, padded, whole = (loop.evaluate(task, step, state.variables, size) for size in (1, 4, 16))
    assert one_by_one['count'] == padded['count'] == whole['count'] == 7
    assert one_by_one['loss'] == pytest.approx(padded['loss'], rel=1e-5)
    assert one_by_one['loss'] == pytest.approx(whole['loss'], rel=1e-5)


def test_same_seed_same_bits_another_seed_others():
    def run(seed):
        settings = dataclasses.replace(SETTINGS, seed=seed, epochs=1)
        state, history, _ = loop.fit(Linear(dropout=0.5), Regression(), settings)
        return leaves(state), [history[0][key] for key in ('train', 'test')]

    (first, figures), (again, figures_again), (other, _) = run(1), run(1), run(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert figures == figures_again
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_temperature_is_annealed_in_every_step_and_kept():
    settings = dataclasses.replace(SETTINGS, temperature=30.0, temperature_epochs=2.0)
    task, model = Regression(), Dynamic()
    state, history, _ = loop.fit(model, task, settings)
    # Two steps an epoch, four of annealing; the last steps of the epochs are 1, 3 and 5.
    assert [record['temperature'] for record in history] == pytest.approx([1 + 29 * 2 / 4, 1.0, 1.0])
    assert leaves(state.temperature) == [1.0]
    state, _, _ = loop.fit(model, task, dataclasses.replace(settings, epochs=1))
    assert leaves(state.temperature)[0] == pytest.approx(1 + 29 * 2 / 4)


def test_the_temperature_changes_the_step():
    task, model = Regression(), Dynamic()
    optimizer, _ = loop.make_optimizer(SETTINGS, 2)
    batch = next(iter(task.batches('train', 4)))
    losses = [
        float(steps.train_step(model, task, optimizer, lambda step, value=value: value)(state, batch)[1]['step_loss'])
        for value in (1.0, 30.0)
        for state in [loop.initial_state(model, task, SETTINGS)]
    ]
    assert losses[0] != losses[1]


@pytest.mark.parametrize(('poison', 'step'), [((0, 0), 0), ((1, 0), 2), ((2, 1), 5)])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(poison, step):
    message = rf'the loss is nan at step {step} \(epoch {poison[0] + 1}, learning rate .*, temperature .*\)'
    with pytest.raises(loop.Diverged, match=message):
        loop.fit(Linear(), Regression(poison=poison), SETTINGS)


def test_divergence_to_infinity_stops_too():
    with pytest.raises(loop.Diverged, match=r'the loss is (inf|nan) at step \d+'):
        loop.fit(Linear(), Regression(), dataclasses.replace(SETTINGS, learning_rate=1e20))


class Collections(nn.Module):
    """A model with a statistic, a sown value and a collection that nobody knows."""

    @nn.compact
    def __call__(self, x, train=False):
        scale = self.variable('torch_buffers', 'scale', lambda: np.float32(2.0))
        self.sow('intermediates', 'seen', x)
        x = nn.BatchNorm(use_running_average=not train)(x * scale.value)
        return x.mean((1, 2))


def test_the_state_keeps_every_collection_but_what_is_only_shown():
    task, model = Regression(), Collections()
    optimizer, _ = loop.make_optimizer(SETTINGS, 2)
    state = loop.initial_state(model, task, SETTINGS)
    assert set(state.variables) == {'params', 'batch_stats', 'torch_buffers'}
    before = leaves(state.batch_stats)
    after, _ = steps.train_step(model, task, optimizer, lambda step: 1.0)(state, next(task.batches('train', 4)))
    assert not all(np.array_equal(a, b) for a, b in zip(before, leaves(after.batch_stats), strict=True))
    assert leaves(after.other) == [2.0]
    assert isinstance(after, TrainState)
    assert jax.tree.structure(after) == jax.tree.structure(loop.initial_state(model, task, SETTINGS))
