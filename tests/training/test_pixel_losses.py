"""Cross-entropy of pixels against numpy and PyTorch in float64, under both rules of averaging, with gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.training.pixel_losses import AVERAGES, mean_pixel_cross_entropy
from tests.tolerances import assert_close

N, H, W, C = 3, 5, 4, 6


def problem(ignored=0.3, seed=0):
    generator = np.random.default_rng(seed)
    logits = 3 * generator.standard_normal((N, H, W, C))
    label = generator.integers(0, C, (N, H, W))
    label[generator.random((N, H, W)) < ignored] = 255
    return logits, label.astype(np.int32)


def oracle(logits, label, mask, average):
    """Value and gradient in float64, pixel by pixel."""
    total, gradient, count = 0.0, np.zeros_like(logits), 0
    for n, i, j in np.ndindex(label.shape):
        if mask[n]:
            count += average == 'all' or label[n, i, j] != 255
            if label[n, i, j] != 255:
                shares = np.exp(logits[n, i, j] - logits[n, i, j].max())
                shares /= shares.sum()
                total -= np.log(shares[label[n, i, j]])
                gradient[n, i, j] = shares
                gradient[n, i, j, label[n, i, j]] -= 1
    return total / max(1, count), gradient / max(1, count)


def both(logits, label, mask, average):
    batch = {'label': jnp.asarray(label), 'mask': jnp.asarray(mask, jnp.float32)}

    def loss(logits):
        return mean_pixel_cross_entropy(logits, batch, 255, average)

    return jax.jit(jax.value_and_grad(loss))(jnp.asarray(logits, jnp.float32))


@pytest.mark.parametrize('mask', [(1, 1, 1), (1, 0, 1), (0, 0, 1)])
@pytest.mark.parametrize('average', AVERAGES)
def test_loss_and_gradient_are_those_of_float64(average, mask):
    logits, label = problem()
    expected = oracle(logits, label, mask, average)
    for actual, wanted in zip(both(logits, label, mask, average), expected, strict=True):
        assert_close(actual, wanted)


@pytest.mark.parametrize('average', AVERAGES)
def test_loss_and_gradient_are_pytorchs(average):
    torch = pytest.importorskip('torch')
    logits, label = problem()
    x = torch.tensor(logits.transpose(0, 3, 1, 2), dtype=torch.float64, requires_grad=True)
    each = torch.nn.functional.cross_entropy(x, torch.tensor(label).long(), ignore_index=255, reduction='none')
    loss = each.mean() if average == 'all' else each.sum() / int((label != 255).sum())
    loss.backward()
    value, gradient = both(logits, label, (1, 1, 1), average)
    assert_close(value, loss.detach().numpy())
    assert_close(gradient, x.grad.numpy().transpose(0, 2, 3, 1))


def test_the_two_rules_differ_by_the_share_of_ignored_pixels():
    logits, label = problem()
    values = [float(both(logits, label, (1, 1, 1), average)[0]) for average in AVERAGES]
    assert values[0] == pytest.approx(values[1] * (label != 255).mean(), rel=1e-6)


@pytest.mark.parametrize('average', AVERAGES)
def test_nothing_but_ignored_pixels(average):
    logits, label = problem(ignored=1.1)
    value, gradient = both(logits, label, (1, 1, 1), average)
    assert float(value) == 0 and not np.asarray(gradient).any()


def test_a_masked_image_counts_nowhere():
    """Even where it has labels."""
    logits, label = problem()
    less = oracle(logits[:2], label[:2], (1, 1), 'all')[0]
    assert_close(both(logits, label, (1, 1, 0), 'all')[0], less)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_narrow_logits_are_computed_in_float32(dtype):
    logits, label = problem()
    logits = jnp.asarray(logits, dtype)
    batch = {'label': jnp.asarray(label), 'mask': jnp.ones(N)}
    value = mean_pixel_cross_entropy(logits, batch, 255, 'all')
    assert value.dtype == jnp.float32
    assert_close(value, oracle(np.asarray(logits, np.float64), label, (1, 1, 1), 'all')[0])


def test_mistakes_are_named():
    logits, label = problem()
    batch = {'label': jnp.asarray(label), 'mask': jnp.ones(N)}
    with pytest.raises(ValueError, match=r"average must be one of \('all', 'valid'\), got 'some'"):
        mean_pixel_cross_entropy(jnp.asarray(logits), batch, average='some')
    with pytest.raises(ValueError, match=r"logits must have the shape \(3, 5, 4, 'classes'\), .* got \(3, 5, 2, 6\)"):
        mean_pixel_cross_entropy(jnp.asarray(logits[:, :, :2]), batch)
