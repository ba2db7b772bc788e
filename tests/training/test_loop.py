"""The loop and its steps on a task that is no image classification."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.training import loop
from flax_dynconv.training.checkpoints import Checkpoints
from flax_dynconv.training.interruption import Interrupted
from flax_dynconv.training.monitoring.observer import Watcher
from flax_dynconv.training.plan import Plan
from flax_dynconv.training.state import TrainState
from tests.training.toy import ONE, SETTINGS, Dynamic, Linear, Regression, leaves

pytestmark = pytest.mark.usefixtures('compiled_once')


def plan(model, task, settings=SETTINGS):
    return Plan(model, task, settings, ONE)


def fit(model, task, settings=SETTINGS, **options):
    return loop.fit(model, task, settings, placement=ONE, **options)


class Seen(Watcher):
    """Everything that the loop tells."""

    def __init__(self):
        self.steps, self.records, self.begun, self.messages = [], [], [], []

    def started(self, role, step, steps, steps_per_epoch, batch_size):
        self.begun.append((role, step, steps, steps_per_epoch, batch_size))

    def stepped(self, step, figures):
        self.steps.append((step, dict(figures)))

    def epoch_ended(self, record):
        self.records.append(record)

    def said(self, message):
        self.messages.append(message)


def test_one_step_is_sgd_with_weight_decay():
    task, model = Regression(), Linear()
    how = plan(model, task, SETTINGS.updated(weight_decay=0.1, momentum=0.5))
    state = how.initial()
    batches = list(task.batches('train', 4))

    w, b = (np.asarray(state.params['Dense_0'][name], np.float64) for name in ('kernel', 'bias'))
    velocity = [np.zeros_like(w), np.zeros_like(b)]
    for i, batch in enumerate(batches):
        x = batch['x'].reshape(4, -1).astype(np.float64)
        error = (x @ w)[:, 0] + b - batch['y']
        gradient = [2 * x.T @ error[:, None] / 4, np.array([2 * error.mean()])]
        plain = [g.copy() for g in gradient]
        velocity = [0.5 * v + g + 0.1 * p for v, g, p in zip(velocity, gradient, (w, b), strict=True)]
        w, b = w - float(how.rate(i)) * velocity[0], b - float(how.rate(i)) * velocity[1]
        state, _, figures = how.train(state, batch)
        norm = np.sqrt(sum((g**2).sum() for g in plain))
        assert float(figures['gradient_norm']) == pytest.approx(norm, rel=1e-5)
        assert float(figures['loss']) == pytest.approx((error**2).mean(), rel=1e-5)
    np.testing.assert_allclose(state.params['Dense_0']['kernel'], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.params['Dense_0']['bias'], b, rtol=1e-5, atol=1e-6)
    assert int(state.step) == 2


def test_fit_records_every_epoch_and_learns():
    task, seen = Regression(train=50), Seen()
    settings = SETTINGS.updated(epochs=10, batch_size=5, learning_rate=0.02)
    state, history, compile_seconds = fit(Linear(), task, settings, observer=seen, role='toy')
    assert seen.records == history
    assert seen.begun == [('toy', 0, 100, 10, 5)]
    assert [record['epoch'] for record in history] == list(range(1, 11))
    assert [step for step, _ in seen.steps] == list(range(100))
    assert int(state.step) == 100
    assert history[0]['train']['count'] == 50
    assert history[0]['test']['count'] == 7  # two batches of 5, the last of 2: none lost, none twice
    assert history[-1]['test']['loss'] < 0.01 * seen.steps[0][1]['loss']
    assert compile_seconds > 0
    assert all(record['seconds'] > 0 and record['skipped'] == 0 for record in history)
    assert {epoch for epoch, _ in task.seen} == set(range(10))
    mean = np.mean([figures['gradient_norm'] for _, figures in seen.steps[:10]])
    assert history[0]['gradient_norm'] == pytest.approx(mean)
    assert 'attention_entropy' not in history[0]


def test_the_last_evaluation_batch_is_masked():
    task, model = Regression(test=7), Linear()
    plans = [plan(model, task, SETTINGS.updated(evaluation_batch_size=size)) for size in (1, 4, 16)]
    one_by_one, padded, whole = (loop.evaluate(how, how.initial().variables) for how in plans)
    assert one_by_one['count'] == padded['count'] == whole['count'] == 7
    assert one_by_one['loss'] == pytest.approx(padded['loss'], rel=1e-5)
    assert one_by_one['loss'] == pytest.approx(whole['loss'], rel=1e-5)


def test_same_seed_same_bits_another_seed_others():
    def run(seed):
        state, history, _ = fit(Linear(dropout=0.5), Regression(), SETTINGS.updated(seed=seed, epochs=1))
        return leaves(state), [history[0][key] for key in ('train', 'test')]

    (first, figures), (again, figures_again), (other, _) = run(1), run(1), run(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert figures == figures_again
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_the_temperature_is_annealed_in_every_step_and_kept():
    settings = SETTINGS.updated(temperature=30.0, temperature_epochs=2.0)
    task, model = Regression(), Dynamic()
    state, history, _ = fit(model, task, settings)
    # Two steps an epoch, four of annealing; the last steps of the epochs are 1, 3 and 5.
    assert [record['temperature'] for record in history] == pytest.approx([1 + 29 * 2 / 4, 1.0, 1.0])
    assert leaves(state.temperature) == [1.0]
    state, _, _ = fit(model, task, settings.updated(epochs=1))
    assert leaves(state.temperature)[0] == pytest.approx(1 + 29 * 2 / 4)


def test_the_temperature_changes_the_step_and_the_entropy_is_told():
    task, model = Regression(), Dynamic()
    told = []
    for start in (1.0, 30.0):
        how = plan(model, task, SETTINGS.updated(temperature=start))
        told.append(how.train(how.initial(), next(task.batches('train', 4)))[2])
    cold, warm = told
    assert float(cold['loss']) != float(warm['loss'])
    assert 0 < float(cold['attention_entropy']) < float(warm['attention_entropy']) <= np.log(2) + 1e-6


@pytest.mark.parametrize(('poison', 'step'), [((0, 0), 0), ((1, 0), 2), ((2, 1), 5)])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(poison, step):
    message = (
        rf'the loss is nan at step {step} \(epoch {poison[0] + 1}, learning rate .*, temperature .*, '
        r'gradient norm nan\); try a lower learning rate'
    )
    with pytest.raises(loop.Diverged, match=message):
        fit(Linear(), Regression(poison=poison))


def test_divergence_to_infinity_stops_too():
    with pytest.raises(loop.Diverged, match=r'the loss is (inf|nan) at step \d+'):
        fit(Linear(), Regression(), SETTINGS.updated(learning_rate=1e20))


class Collections(nn.Module):
    """A model with a statistic, a sown value and a collection that nobody knows."""

    @nn.compact
    def __call__(self, x, train=False):
        scale = self.variable('torch_buffers', 'scale', lambda: np.float32(2.0))
        self.sow('intermediates', 'seen', x)
        x = nn.BatchNorm(use_running_average=not train)(x * scale.value)
        return x.mean((1, 2))


def test_the_state_keeps_every_collection_but_what_is_only_shown():
    task = Regression()
    how = plan(Collections(), task)
    state = how.initial()
    assert set(state.variables) == {'params', 'batch_stats', 'torch_buffers'}
    before = leaves(state.batch_stats)
    after, _, _ = how.train(state, next(task.batches('train', 4)))
    assert not all(np.array_equal(a, b) for a, b in zip(before, leaves(after.batch_stats), strict=True))
    assert leaves(after.other) == [2.0]
    assert isinstance(after, TrainState)
    assert jax.tree.structure(after) == jax.tree.structure(how.shapes)


def test_a_poisoned_update_is_skipped_counted_and_told():
    """The run goes on as if the poisoned batch had not been trained on."""
    seen, settings = Seen(), SETTINGS.updated(nonfinite='skip')
    state, history, _ = fit(Linear(), Regression(poison=(1, 0)), settings, observer=seen)
    assert [record['skipped'] for record in history] == [0, 1, 1]
    # The optimiser counts updates: the schedule goes on where it was.
    rates = [figures['learning_rate'] for _, figures in seen.steps]
    assert rates[3] == rates[2] > rates[4] > rates[5] == history[-1]['learning_rate']
    assert [record['train']['count'] for record in history] == [8, 4, 8]
    assert int(state.skipped) == 1 and int(state.step) == 6
    assert any('step 2 is skipped, its loss is nan' in message for message in seen.messages)
    assert all(np.isfinite(leaf).all() for leaf in leaves(state))
    with pytest.raises(loop.Diverged, match=r'every update of epoch 1 was skipped'):
        fit(Linear(), Regression(train=4, test=5, poison=(0, 0)), settings)


def test_the_average_is_what_is_evaluated():
    settings = SETTINGS.updated(ema=0.5, epochs=1)
    task, how = Regression(), plan(Linear(), Regression(), settings)
    state, expected = how.initial(), None
    for i, batch in enumerate(task.batches('train', 4)):
        expected = leaves(state.ema['params']) if expected is None else expected
        state, *_ = how.train(state, batch)
        keep = min(0.5, (1 + i) / (10 + i))
        expected = [keep * old + (1 - keep) * new for old, new in zip(expected, leaves(state.params), strict=True)]
    for a, b in zip(leaves(state.ema['params']), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert leaves(state.evaluated['params'])[0] is not None
    assert np.array_equal(leaves(state.evaluated['params'])[1], leaves(state.ema['params'])[1])
    _, history, _ = fit(Linear(), task, settings)
    assert history[0]['test'] == loop.evaluate(how, state.evaluated) != loop.evaluate(how, state.variables)


class Switch:
    """An interruption that comes when the loop has asked `after` times."""

    def __init__(self, after):
        self.left = after

    @property
    def requested(self):
        self.left -= 1
        return 'SIGTERM' if self.left < 0 else None


@functools.cache
def uninterrupted():
    """A whole run with annealing, and its settings."""
    settings = SETTINGS.updated(checkpoint_every=1, temperature_epochs=2.0)
    return settings, fit(Dynamic(), Regression(), settings)


# The loop asks before the first step, after each of two steps of an epoch and before each of two test batches.
@pytest.mark.parametrize('after', [0, 1, 3, 4, 6, 12])
def test_wherever_a_run_is_interrupted_it_ends_with_the_same_bits(after, tmp_path):
    settings, (expected, history, _) = uninterrupted()
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(Interrupted, match=r'ended by SIGTERM after step \d') as interrupted:
            fit(Dynamic(), Regression(), settings, checkpoints=checkpoints, interruption=Switch(after))
        seen = Seen()
        state, again, _ = fit(Dynamic(), Regression(), settings, checkpoints=checkpoints, observer=seen)
    assert all(np.array_equal(a, b) for a, b in zip(leaves(state), leaves(expected), strict=True))
    timeless = [
        [{k: v for k, v in r.items() if k not in ('seconds', 'images_per_second')} for r in h] for h in (history, again)
    ]
    assert timeless[0] == timeless[1]
    made = interrupted.value.step
    assert [step for step, _ in seen.steps] == list(range(made, 6))
    assert seen.begun[0][1] == made
    # The temperature of the schedule, not that of a fresh state, right after the start.
    if seen.steps:
        assert seen.steps[0][1]['temperature'] == pytest.approx(max(1.0, 1 + 29 * (4 - made - 1) / 4))


def test_a_finished_run_is_read_and_not_trained_again(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        state, history, _ = fit(Linear(), Regression(), checkpoints=checkpoints)
        seen = Seen()
        again, recorded, compile_seconds = fit(Linear(), Regression(), checkpoints=checkpoints, observer=seen)
    assert recorded == history and compile_seconds == 0
    assert seen.begun == [('model', 6, 6, 2, 4)] and not seen.steps  # For the bar: it is one network of the run.
    assert all(np.array_equal(a, b) for a, b in zip(leaves(state), leaves(again), strict=True))
