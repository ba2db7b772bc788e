"""BatchNorm: nn.BatchNorm in all but the running variance, which is PyTorch's."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.layers import BatchNorm
from tests.layers.common import draw, inputs
from tests.tolerances import assert_close


def variables(channels=6):
    return {
        'params': {'scale': 1 + 0.1 * draw('s', (channels,)), 'bias': draw('b', (channels,))},
        'batch_stats': {'mean': draw('m', (channels,)), 'var': 1 + 0.5 * jnp.tanh(draw('v', (channels,)))},
    }


def train(norm, x, **kwargs):
    return norm.apply(variables(x.shape[-1]), x, use_running_average=False, mutable=['batch_stats'], **kwargs)


def test_fields_are_those_of_flax_and_unbiased():
    ours, theirs = (list(c.__dataclass_fields__) for c in (BatchNorm, nn.BatchNorm))
    assert [f for f in ours if f not in theirs] == ['unbiased']
    assert [f for f in theirs if f not in ours] == []


@pytest.mark.parametrize('shape', [(3, 6), (2, 3, 2, 6)])
def test_outputs_and_statistics_are_those_of_torch(shape):
    torch = pytest.importorskip('torch', reason='compares with torch')
    x, v = inputs(shape), variables()
    module = torch.nn.BatchNorm1d(6, eps=1e-5, momentum=0.1)
    state = {'weight': v['params']['scale'], 'bias': v['params']['bias']}
    state |= {'running_mean': v['batch_stats']['mean'], 'running_var': v['batch_stats']['var']}
    state = {key: torch.tensor(np.asarray(a)) for key, a in state.items()}
    module.load_state_dict(state | {'num_batches_tracked': torch.tensor(0)})
    expected = module(torch.tensor(np.asarray(x)).reshape(-1, 6)).detach().numpy().reshape(shape)
    y, updated = train(BatchNorm(momentum=0.9), x)
    assert_close(y, expected)
    assert_close(updated['batch_stats']['mean'], module.running_mean.numpy())
    assert_close(updated['batch_stats']['var'], module.running_var.numpy())
    module.eval()
    expected = module(torch.tensor(np.asarray(x)).reshape(-1, 6)).detach().numpy().reshape(shape)
    y = BatchNorm().apply({**v, 'batch_stats': updated['batch_stats']}, x, use_running_average=True)
    assert_close(y, expected)


def test_biased_is_flax():
    x = inputs((3, 6))
    for a, b in zip(
        jax.tree.leaves(train(BatchNorm(unbiased=False), x)),
        jax.tree.leaves(train(nn.BatchNorm(use_fast_variance=False), x)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_one_value_warns_and_stays_finite():
    norm, x = BatchNorm(momentum=0.9), inputs((1, 6))
    with pytest.warns(UserWarning, match='one value per channel'):
        y, updated = train(norm, x)
    assert_close(y, variables()['params']['bias'][None])
    assert_close(updated['batch_stats']['var'], 0.9 * variables()['batch_stats']['var'])


def test_no_warning_at_init_or_in_evaluation():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        norm, x = BatchNorm(use_running_average=False), inputs((1, 6))
        norm.init(jax.random.key(0), x)
        BatchNorm().apply(variables(), x, use_running_average=True)


def test_an_empty_batch_keeps_the_statistics():
    y, updated = train(BatchNorm(), jnp.zeros((0, 6)))
    assert y.shape == (0, 6)
    for a, b in zip(jax.tree.leaves(updated['batch_stats']), jax.tree.leaves(variables()['batch_stats']), strict=True):
        np.testing.assert_array_equal(a, b)


def test_masked_positions_do_not_count():
    x = inputs((4, 6))
    mask = jnp.array([[True], [True], [False], [True]])
    _, masked = train(BatchNorm(), x, mask=mask)
    _, without = train(BatchNorm(), x[np.array([0, 1, 3])])
    assert_close(masked['batch_stats']['var'], without['batch_stats']['var'])


def test_devices_of_one_axis_count_together():
    x = inputs((4, 6))
    v = variables()
    apply = partial(BatchNorm(use_running_average=False, axis_name='devices').apply, v, mutable=['batch_stats'])
    y, updated = jax.vmap(apply, axis_name='devices')(x.reshape(2, 2, 6))
    expected, whole = train(BatchNorm(), x)
    assert_close(y.reshape(4, 6), expected)
    for shard in updated['batch_stats']['var']:
        assert_close(shard, whole['batch_stats']['var'])


def test_statistics_that_are_not_given_start_from_their_defaults():
    x = inputs((3, 6))
    _, updated = BatchNorm(momentum=0.9).apply(
        {'params': variables()['params']}, x, use_running_average=False, mutable=['batch_stats']
    )
    assert_close(updated['batch_stats']['var'], 0.9 + 0.1 * jnp.var(x, axis=0, ddof=1))


@pytest.mark.parametrize('mean', [0.0, 5.0, 50.0])
def test_a_large_mean_costs_no_digits(mean):
    """Pooled maps have a mean that is large against their deviation: E[x^2] - E[x]^2 would cancel."""
    x = mean + inputs((16, 6))
    unit = {'params': {'scale': jnp.ones(6), 'bias': jnp.zeros(6)}}
    unit['batch_stats'] = {'mean': jnp.zeros(6), 'var': jnp.zeros(6)}
    y, updated = BatchNorm(momentum=0.0).apply(unit, x, use_running_average=False, mutable=['batch_stats'])
    exact = np.asarray(x, np.float64)
    assert_close(y, (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5))
    assert_close(updated['batch_stats']['var'], exact.var(0, ddof=1))


@pytest.mark.parametrize('kind', ['float32', 'float64', 'bfloat16'])
def test_statistics_keep_their_dtype(kind):
    """A training step is a function from a tree to one of the same dtypes, so that it compiles once and scans."""
    with jax.enable_x64(True):
        norm = BatchNorm(use_running_average=False, momentum=0.9, param_dtype=jnp.dtype(kind))
        x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 6)))
        variables = norm.init(jax.random.key(0), x)
        _, updated = norm.apply(variables, x, mutable=['batch_stats'])
        expected = jnp.promote_types(kind, jnp.float32)
        assert {a.dtype for a in jax.tree.leaves(variables['batch_stats'])} == {expected}
        assert {a.dtype for a in jax.tree.leaves(updated)} == {expected}
        if kind == 'float64':
            np.testing.assert_allclose(updated['batch_stats']['mean'], 0.1 * np.mean(x, 0), rtol=1e-14)
            np.testing.assert_allclose(updated['batch_stats']['var'], 0.9 + 0.1 * np.var(x, 0, ddof=1), rtol=1e-14)
