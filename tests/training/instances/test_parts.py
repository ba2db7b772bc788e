"""Losses of classes, boxes, centerness and masks against golden numbers and PyTorch in float64; centres of mass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.training.instances.box_loss import KINDS, box_loss, distance_ious
from flax_dynconv.training.instances.center_of_mass import center_of_mass
from flax_dynconv.training.instances.centerness import centerness_loss, centerness_targets
from flax_dynconv.training.instances.dice import dice_loss
from flax_dynconv.training.instances.focal_loss import focal_loss
from tests.tolerances import assert_close
from tests.training.instances.stored import Stored
from tests.x64 import x64

DTYPES = pytest.mark.parametrize('dtype', ['float32', 'float64'])


@DTYPES
def test_box_losses_are_adelaidets(dtype):
    with x64():
        stored = Stored('fcos_iou_loss', dtype)
        pred, target, weight = (stored.inputs[name] for name in ('pred', 'target', 'weight'))

        def total(pred):
            ious, gious = distance_ious(pred, target)
            found = {'ious': ious, 'gious': gious}
            each = {kind: box_loss(pred, target, kind=kind) for kind in KINDS}
            found |= {f'{kind}_sum': jnp.sum(loss) for kind, loss in each.items()}
            found |= {f'{kind}_weighted': jnp.sum(weight * each[kind]) for kind in ('iou', 'giou')}
            return found['giou_weighted'], found

        # The cotangent of this case is 1.
        slope, found = jax.jit(jax.grad(total, has_aux=True))(pred)
        assert {f'out.{name}' for name in found} == set(stored.case.outputs)
        for name, value in found.items():
            stored.check(f'out.{name}', value)
        stored.check('grad.pred', slope)


@DTYPES
def test_dice_is_adelaidets(dtype):
    with x64():
        stored = Stored('condinst_dice', dtype)
        target = stored.inputs['target'][:, 0]

        def total(x):
            dice = dice_loss(x[:, 0], target)
            return jnp.sum(stored.cotangent('out.dice') * dice), dice

        slope, dice = jax.jit(jax.grad(total, has_aux=True))(stored.inputs['x'])
        stored.check('out.dice', dice)
        stored.check('grad.x', slope)


def logits():
    return np.concatenate([np.random.default_rng(0).normal(0, 3, 24), [60.0, -60, 0, 60, -60, 0]]).reshape(5, 6)


@DTYPES
@pytest.mark.parametrize('alpha, gamma', [(0.25, 2), (0.6, 1.5)])
def test_focal_loss_is_that_of_the_definition(dtype, alpha, gamma):
    """With right and wrong answers of a probability that rounds to 1."""
    torch = pytest.importorskip('torch')
    targets = (np.arange(30).reshape(5, 6) % 3 == 0) | (np.arange(30).reshape(5, 6) == 28)
    z, t = torch.tensor(logits(), requires_grad=True), torch.tensor(targets, dtype=torch.float64)
    p = torch.sigmoid(z)
    share = p * (1 - t) + (1 - p) * t
    cross = torch.nn.functional.binary_cross_entropy_with_logits(z, t, reduction='none')
    expected = (alpha * t + (1 - alpha) * (1 - t)) * share**gamma * cross
    expected.sum().backward()
    with x64():

        def total(z):
            each = focal_loss(z, jnp.asarray(targets), alpha, gamma)
            return jnp.sum(each), each

        slope, each = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(logits(), dtype))
        assert each.dtype == slope.dtype == dtype
        assert_close(each, expected.detach().numpy())
        assert_close(slope, z.grad.numpy())


@DTYPES
def test_centerness_loss_is_pytorchs(dtype):
    torch = pytest.importorskip('torch')
    targets = np.random.default_rng(1).random((5, 6))
    z = torch.tensor(logits(), requires_grad=True)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(targets), reduction='none')
    loss.sum().backward()
    with x64():

        def total(z):
            each = centerness_loss(z, jnp.asarray(targets, dtype))
            return jnp.sum(each), each

        slope, each = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(logits(), dtype))
        assert_close(each, loss.detach().numpy())
        assert_close(slope, z.grad.numpy())


def test_centerness_is_that_of_the_definition():
    distances = np.random.default_rng(2).uniform(0.01, 9, (7, 4))
    targets = np.asarray(centerness_targets(jnp.asarray(distances)))
    for (left, top, right, bottom), found in zip(distances, targets, strict=True):
        share = min(left, right) / max(left, right) * (min(top, bottom) / max(top, bottom))
        assert found == pytest.approx(share**0.5, rel=1e-6)


def test_boxes_of_no_size_have_finite_gradients():
    """Locations without an object have targets of zeros, and ReLU gives predictions of zeros."""
    zeros = jnp.zeros((2, 4))
    function = jax.jit(jax.jacobian(lambda pred: jnp.stack([jnp.sum(box_loss(pred, zeros, kind=k)) for k in KINDS])))
    assert np.isfinite(function(zeros)).all()


@pytest.mark.parametrize('xp', [np, jnp])
@pytest.mark.parametrize('dtype', ['bool', 'uint8', 'float32'])
def test_centers_of_mass_are_means_of_indices(xp, dtype):
    masks = np.random.default_rng(3).random((2, 3, 40, 50)) < 0.3
    masks[0, 0] = False
    found = center_of_mass(xp.asarray(masks.astype(dtype)))
    assert found.dtype == np.float32 and found.shape == (2, 3, 2)
    for place in np.ndindex(2, 3):
        y, x = np.nonzero(masks[place])
        expected = (x.mean(), y.mean()) if len(x) else (0, 0)
        np.testing.assert_allclose(found[place], expected, rtol=1e-6)


def test_centers_of_large_masks_are_exact():
    """The sum of indices is beyond what float32 and int32 hold."""
    mask = np.ones((2400, 2400), bool)
    assert center_of_mass(mask).tolist() == [1199.5, 1199.5]
    np.testing.assert_allclose(center_of_mass(jnp.asarray(mask)), [1199.5, 1199.5], rtol=1e-6)


def test_mistakes_are_named():
    boxes = jnp.zeros((3, 4))
    with pytest.raises(ValueError, match=r'same shape \(\.\.\., 4\), got \(3, 4\) and \(2, 4\)'):
        distance_ious(boxes, boxes[:2])
    with pytest.raises(ValueError, match=r"kind must be one of .*, got 'diou'"):
        box_loss(boxes, boxes, kind='diou')
    with pytest.raises(ValueError, match=r'logits and targets must have the same shape, got \(3, 4\) and \(3,\)'):
        focal_loss(boxes, boxes[:, 0])
    with pytest.raises(ValueError, match=r'logits and targets must have the same shape, got \(3, 4\) and \(3,\)'):
        centerness_loss(boxes, boxes[:, 0])
    with pytest.raises(ValueError, match=r'distances must have the shape \(\.\.\., 4\), got \(3, 3\)'):
        centerness_targets(boxes[:, :3])
    with pytest.raises(ValueError, match=r'scores and masks must have the same shape, got \(3, 4\) and \(3, 3\)'):
        dice_loss(boxes, boxes[:, :3])
    with pytest.raises(ValueError, match=r'masks must have the shape \(\.\.\., H, W\), got \(4,\)'):
        center_of_mass(np.zeros(4))
