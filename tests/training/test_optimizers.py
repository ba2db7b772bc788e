"""Optimisers against loops over the published rules in float64, and against torch.optim."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flax_dynconv.layers import ODConv
from flax_dynconv.models import param_labels
from flax_dynconv.training.optimizers import make_optimizer
from flax_dynconv.training.settings import Settings

STEPS, PER_EPOCH = 12, 3
RNG = np.random.default_rng(0)
PARAMS = {'layer': {'kernel': RNG.normal(size=(3, 4)), 'bias': RNG.normal(size=4)}, 'norm': {'scale': np.ones(4)}}
GRADIENTS = [jax.tree.map(lambda p: RNG.normal(size=p.shape), PARAMS) for _ in range(STEPS)]
# Moves in every step: half of an epoch of warm-up, then down.
SCHEDULE = {'epochs': 4, 'schedule': 'polynomial', 'warmup_epochs': 0.5, 'learning_rate': 0.05}


def rate_of(step, peak=0.05, warmup=2):
    """The schedule above in float64."""
    return peak * step / warmup if step < warmup else peak * (1 - (step - warmup) / (STEPS - warmup))


def settings(**values):
    return Settings().updated(**{**SCHEDULE, **values})


def trained(chosen, labels=None, params=PARAMS, gradients=GRADIENTS):
    """Float32 parameters after the gradients, as a flat list of float64 arrays."""
    optimizer, _ = make_optimizer(chosen, PER_EPOCH, labels)

    @jax.jit
    def step(params, state, gradient):
        changes, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, changes), state

    single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
    state = optimizer.init(single)
    for gradient in gradients:
        single, state = step(single, state, jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), gradient))
    assert {leaf.dtype for leaf in jax.tree.leaves(single)} == {jnp.dtype('float32')}
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(single)]


def expected(rule, decays=(True, True, True), rate=rate_of, clip=None):
    """The same by `rule(p, g, memory, r, decays)`, which returns the new p and keeps what it needs in a dict."""
    params = [p.copy() for p in jax.tree.leaves(PARAMS)]
    memories = [{} for _ in params]
    for step, gradient in enumerate(GRADIENTS):
        gradient = jax.tree.leaves(gradient)
        if clip is not None:
            norm = np.sqrt(sum(np.sum(g**2) for g in gradient))
            gradient = [g * min(1.0, clip / norm) for g in gradient]
        params = [
            rule(p, g, memory, rate(step), decay)
            for p, g, memory, decay in zip(params, gradient, memories, decays, strict=True)
        ]
    return params


def sgd(momentum, weight_decay, nesterov):
    def rule(p, g, memory, r, decays):
        g = g + weight_decay * decays * p
        memory['u'] = u = momentum * memory.get('u', 0.0) + g
        return p - r * (g + momentum * u if nesterov else u)

    return rule


def rmsprop(decay, momentum, epsilon, weight_decay):
    """TensorFlow's slots: the mean square starts at one, and the momentum is of scaled steps."""

    def rule(p, g, memory, r, decays):
        g = g + weight_decay * decays * p
        memory['v'] = v = decay * memory.get('v', 1.0) + (1 - decay) * g**2
        memory['u'] = u = momentum * memory.get('u', 0.0) + r * g / np.sqrt(v + epsilon)
        return p - u

    return rule


def adam_direction(g, memory, beta1, beta2, epsilon):
    memory['t'] = t = memory.get('t', 0) + 1
    memory['m'] = m = beta1 * memory.get('m', 0.0) + (1 - beta1) * g
    memory['v'] = v = beta2 * memory.get('v', 0.0) + (1 - beta2) * g**2
    return (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)


def adamw(beta1, beta2, epsilon, weight_decay):
    def rule(p, g, memory, r, decays):
        return p - r * (adam_direction(g, memory, beta1, beta2, epsilon) + weight_decay * decays * p)

    return rule


def lamb(beta1, beta2, epsilon, weight_decay):
    def rule(p, g, memory, r, decays):
        w = adam_direction(g, memory, beta1, beta2, epsilon) + weight_decay * decays * p
        return p - r * w * np.linalg.norm(p) / np.linalg.norm(w)

    return rule


def assert_same(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


RULES = {
    'sgd': ({'optimizer': 'sgd', 'weight_decay': 0.1}, sgd(0.9, 0.1, False)),
    'nesterov': ({'optimizer': 'sgd', 'momentum': 0.8, 'nesterov': True, 'weight_decay': 0.1}, sgd(0.8, 0.1, True)),
    'plain': ({'optimizer': 'sgd', 'momentum': 0.0, 'weight_decay': 0.0}, sgd(0.0, 0.0, False)),
    'rmsprop': ({'optimizer': 'rmsprop', 'weight_decay': 0.1}, rmsprop(0.9, 0.9, 1e-3, 0.1)),
    'rmsprop, other numbers': (
        {'optimizer': 'rmsprop', 'weight_decay': 0.0, 'momentum': 0.5, 'second_moment': 0.7, 'epsilon': 0.5},
        rmsprop(0.7, 0.5, 0.5, 0.0),
    ),
    'adamw': ({'optimizer': 'adamw', 'weight_decay': 0.3}, adamw(0.9, 0.999, 1e-8, 0.3)),
    'adamw, other numbers': (
        {'optimizer': 'adamw', 'weight_decay': 0.3, 'momentum': 0.8, 'second_moment': 0.9, 'epsilon': 0.1},
        adamw(0.8, 0.9, 0.1, 0.3),
    ),
    'lamb': ({'optimizer': 'lamb', 'weight_decay': 0.3}, lamb(0.9, 0.999, 1e-6, 0.3)),
}


@pytest.mark.parametrize('name', RULES)
def test_the_published_rule(name):
    values, rule = RULES[name]
    assert_same(trained(settings(**values)), expected(rule))


@pytest.mark.parametrize('name', ['sgd', 'adamw'])
def test_no_decay_of_biases(name):
    values, rule = RULES[name]
    # Leaves in the order of names: bias, kernel, scale.
    assert_same(trained(settings(**values, no_decay=('bias',))), expected(rule, decays=(False, True, False)))


def test_clipping_is_of_the_gradient_without_decay():
    values, rule = RULES['sgd']
    assert_same(trained(settings(**values, clip_norm=1.0)), expected(rule, clip=1.0))
    assert_same(trained(settings(**values, clip_norm=1e6)), expected(rule))


def test_the_learning_rate_is_scaled_to_the_batch():
    chosen = settings(learning_rate_batch=128, batch_size=32, weight_decay=0.0)
    _, rate = make_optimizer(chosen, PER_EPOCH)
    assert float(rate(2)) == pytest.approx(0.05 / 4)
    assert_same(trained(chosen), expected(sgd(0.9, 0.0, False), rate=lambda step: rate_of(step, peak=0.05 / 4)))
    _, rate = make_optimizer(settings(batch_size=256), PER_EPOCH)
    assert float(rate(2)) == pytest.approx(0.05)


def test_a_zero_parameter_moves_under_lamb():
    params, gradients = {'kernel': np.zeros((2, 2))}, [{'kernel': np.ones((2, 2))}] * 3
    (moved,) = trained(settings(optimizer='lamb', weight_decay=0.0), params=params, gradients=gradients)
    assert (moved < -0.01).all()


ODCONV_DECAY = {
    (): set(),
    ('attention',): {'routing'},
    ('kernel_bank',): {'kernel'},
    ('bias',): {'bias', 'routing biases'},
    ('attention', 'bias'): {'bias', 'routing', 'routing biases'},
    ('kernel_bank', 'norm'): {'kernel'},
}


@pytest.mark.parametrize('no_decay', ODCONV_DECAY)
def test_no_decay_by_label(no_decay):
    """A step with a gradient of zero moves exactly what decays."""
    x = jnp.ones((1, 5, 5, 4))
    layer = ODConv(6, (3, 3), num_kernels=2)
    params = jax.tree.map(jnp.ones_like, jax.eval_shape(layer.init, jax.random.key(0), x)['params'])
    chosen = settings(warmup_epochs=0.0, weight_decay=0.5, learning_rate=1.0, no_decay=no_decay)
    optimizer, _ = make_optimizer(chosen, PER_EPOCH, param_labels(layer, x))
    changes, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    still = set()
    for path, change in jax.tree_util.tree_leaves_with_path(changes):
        names = [key.key for key in path]
        kind = 'bias' if names == ['bias'] else 'kernel' if names == ['kernel'] else 'routing'
        if kind == 'routing' and names[-1] != 'kernel':
            kind = 'routing biases'
        if not np.any(change):
            still.add(kind)
        else:
            np.testing.assert_allclose(change, -0.5)
    wanted = ODCONV_DECAY[no_decay]
    assert still == wanted | ({'routing biases'} if 'routing' in wanted else set())


def test_labels_are_asked_for():
    with pytest.raises(ValueError, match=r"labels must be given .* where no_decay names \['norm'\], got None"):
        make_optimizer(settings(no_decay=('norm', 'bias')), PER_EPOCH)


@pytest.mark.parametrize('name', ['sgd', 'nesterov', 'adamw', 'adamw, other numbers'])
def test_torch_takes_the_same_steps(name):
    torch = pytest.importorskip('torch', reason='the comparison needs PyTorch')
    values, _ = RULES[name]
    chosen = settings(**values)
    o = chosen.optimization
    leaves = [torch.tensor(leaf, dtype=torch.float64, requires_grad=True) for leaf in jax.tree.leaves(PARAMS)]
    if o.optimizer == 'sgd':
        theirs = torch.optim.SGD(leaves, 1.0, o.momentum, weight_decay=o.weight_decay, nesterov=o.nesterov)
    else:
        betas = (o.momentum, o.second_moment or 0.999)
        theirs = torch.optim.AdamW(leaves, 1.0, betas, o.epsilon or 1e-8, weight_decay=o.weight_decay)
    for step, gradient in enumerate(GRADIENTS):
        for leaf, g in zip(leaves, jax.tree.leaves(gradient), strict=True):
            leaf.grad = torch.tensor(g, dtype=torch.float64)
        for group in theirs.param_groups:
            group['lr'] = rate_of(step)
        theirs.step()
    assert_same(trained(chosen), [leaf.detach().numpy() for leaf in leaves])
