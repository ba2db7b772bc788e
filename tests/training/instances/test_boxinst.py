"""BoxInst's losses against golden numbers and loops; Lab against its definition in float64 and known colours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.training.instances.boxinst import (
    color_similarity,
    image_similarity,
    neighbours,
    pairwise_loss,
    projection_loss,
    weighted_pairwise_loss,
)
from flax_dynconv.training.instances.lab import rgb_to_lab
from flax_dynconv.training.instances.mask_losses import box_centers, box_mask_losses, box_masks
from tests.tolerances import assert_close
from tests.training.instances.stored import Stored
from tests.x64 import x64

DTYPES = pytest.mark.parametrize('dtype', ['float32', 'float64'])


@DTYPES
def test_pairwise_loss_is_adelaidets(dtype):
    with x64():
        stored = Stored('boxinst_pairwise', dtype)

        def total(x):
            loss = pairwise_loss(x[:, 0])
            return jnp.sum(stored.cotangent('out') * loss), loss

        slope, loss = jax.jit(jax.grad(total, has_aux=True))(stored.inputs['x'])
        stored.check('out', loss)
        stored.check('grad.x', slope)


@DTYPES
def test_color_similarity_is_adelaidets(dtype):
    with x64():
        stored = Stored('boxinst_color_similarity', dtype)
        lab = jnp.moveaxis(stored.inputs['lab'], 1, -1)
        stored.check('out', jax.jit(color_similarity)(lab, stored.inputs['mask'][None]))


@DTYPES
def test_projection_loss_is_adelaidets(dtype):
    with x64():
        stored = Stored('condinst_dice', dtype)
        function = jax.jit(lambda x, target: jnp.mean(projection_loss(x[:, 0], target[:, 0])))
        stored.check('out.project', function(stored.inputs['x'], stored.inputs['target']))


@DTYPES
def test_gradient_of_the_projection_loss_is_pytorchs(dtype):
    torch = pytest.importorskip('torch')
    random = np.random.default_rng(0)
    scores, masks = random.random((3, 7, 9)), (random.random((3, 7, 9)) < 0.4).astype(float)
    masks[2] = 0
    p, g = torch.tensor(scores, requires_grad=True), torch.tensor(masks)
    total = 0
    for axis in (1, 2):
        a, b = p.amax(axis), g.amax(axis)
        total = total + (1 - 2 * (a * b).sum(1) / ((a**2).sum(1) + (b**2).sum(1) + 1e-5)).sum()
    total.backward()
    with x64():
        function = jax.jit(jax.grad(lambda p: jnp.sum(projection_loss(p, jnp.asarray(masks)))))
        assert_close(function(jnp.asarray(scores, dtype)), p.grad.numpy())


def test_neighbours_are_those_of_an_image_with_zeros_around_it():
    values = np.random.default_rng(1).normal(size=(2, 6, 7))
    found = np.stack(neighbours(jnp.asarray(values, jnp.float32), 5, 3), axis=1)
    steps = [(3 * i, 3 * j) for i in range(-2, 3) for j in range(-2, 3) if (i, j) != (0, 0)]
    assert found.shape == (2, len(steps), 6, 7)
    for (k, (i, j)), y, x in ((step, y, x) for step in enumerate(steps) for y in range(6) for x in range(7)):
        inside = 0 <= y + i < 6 and 0 <= x + j < 7
        np.testing.assert_allclose(found[:, k, y, x], values[:, y + i, x + j] if inside else 0, rtol=1e-6)


def arrays(dtype=np.float64):
    """logits (2, 3, 6, 5), similarity (2, 8, 6, 5), masks (2, 3, 6, 5) of which one is empty."""
    random = np.random.default_rng(2)
    masks = random.random((2, 3, 6, 5)) < 0.5
    masks[1, 2] = False
    return random.normal(0, 3, (2, 3, 6, 5)).astype(dtype), random.random((2, 8, 6, 5)).astype(dtype), masks


@DTYPES
def test_weighted_pairs_are_those_of_all_pairs(dtype):
    """Value and gradient, against PyTorch on an array with an axis of neighbours."""
    torch = pytest.importorskip('torch')
    logits, similarity, masks = arrays()
    z = torch.tensor(logits, requires_grad=True)
    one, other = (torch.nn.functional.logsigmoid(s * z) for s in (1, -1))

    def unfold(v):
        windows = torch.nn.functional.unfold(v.reshape(6, 1, 6, 5), 3, dilation=2, padding=2).reshape(2, 3, 9, 6, 5)
        return windows[:, :, [0, 1, 2, 3, 5, 6, 7, 8]]

    pairs = -torch.logaddexp(one[:, :, None] + unfold(one), other[:, :, None] + unfold(other))
    weights = torch.tensor((similarity[:, None] >= 0.3) & masks[:, :, None])
    (pairs * weights).sum().backward()
    with x64():

        def total(z):
            return weighted_pairwise_loss(z, jnp.asarray(similarity, dtype), jnp.asarray(masks))

        (loss, count), slope = jax.jit(jax.value_and_grad(total, has_aux=True))(jnp.asarray(logits, dtype))
        assert loss.dtype == dtype and count == int(weights.sum())
        assert_close(loss, (pairs * weights).sum().detach().numpy())
        assert_close(slope, z.grad.numpy())


def lab_by_definition(rgb):
    """CIE 1976 in float64, for one colour of bytes."""
    linear = [((c / 255 + 0.055) / 1.055) ** 2.4 if c / 255 > 0.04045 else c / 255 / 12.92 for c in rgb]
    matrix = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    xyz = [sum(w * c for w, c in zip(row, linear, strict=True)) for row in matrix]
    t = [value / white for value, white in zip(xyz, (0.95047, 1.0, 1.08883), strict=True)]
    f = [v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in t]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def test_lab_is_that_of_the_definition():
    """Of dark colours too, which have other formulas."""
    random = np.random.default_rng(3)
    colors = np.concatenate([random.integers(0, 256, (60, 3)), random.integers(0, 12, (30, 3))]).astype(np.uint8)
    expected = np.array([lab_by_definition(color.tolist()) for color in colors])
    found = np.asarray(jax.jit(rgb_to_lab)(jnp.asarray(colors)))
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4


# Computed by scikit-image 0.26's `color.rgb2lab` from bytes.
SKIMAGE = {
    (0, 0, 0): (0.0, 0.0, 0.0),
    (255, 255, 255): (100.0, -0.002455, 0.004653),
    (255, 0, 0): (53.240588, 80.092308, 67.202751),
    (0, 0, 255): (32.295673, 79.185591, -107.8573),
    (10, 10, 11): (2.762026, 0.142415, -0.387742),
    (1, 3, 2): (0.686116, -0.662095, 0.194245),
    (12, 200, 130): (71.551879, -57.737495, 23.612403),
    (77, 5, 240): (33.931625, 76.291047, -96.581469),
}


def test_lab_is_scikit_images():
    found = rgb_to_lab(jnp.array(list(SKIMAGE), jnp.uint8))
    assert np.abs(np.asarray(found) - np.array(list(SKIMAGE.values()))).max() < 1e-4


def test_colours_are_averaged_and_rounded_down():
    image = np.random.default_rng(4).integers(0, 256, (2, 24, 20, 3)).astype(np.uint8)
    valid = np.ones((2, 24, 20))
    valid[0, 14:], valid[1, :, 10:] = 0, 0
    bytes_ = image.reshape(2, 6, 4, 5, 4, 3).astype(int).sum(axis=(2, 4)) // 16
    lab = np.array([[[lab_by_definition(c.tolist()) for c in row] for row in each] for each in bytes_])
    found = np.asarray(jax.jit(image_similarity)(jnp.asarray(image), jnp.asarray(valid)))
    steps = [(i, j) for i in (-2, 0, 2) for j in (-2, 0, 2) if (i, j) != (0, 0)]
    for b, k, y, x in np.ndindex(found.shape):
        v, u = y + steps[k][0], x + steps[k][1]
        inside = 0 <= v < 6 and 0 <= u < 5 and valid[b, 4 * v + 2, 4 * u + 2]
        expected = np.exp(-np.linalg.norm(lab[b, y, x] - lab[b, v, u]) / 2) if inside else 0
        assert found[b, k, y, x] == pytest.approx(expected, abs=1e-5)


def test_boxes_are_drawn_as_masks():
    """As AdelaiDet draws them: `mask[int(y0):int(y1 + 1), int(x0):int(x1 + 1)] = 1`, then [2::4, 2::4]."""
    boxes = [[0, 0, 64, 48], [2, 3, 2.5, 40.9], [5.9, 6.1, 30, 10], [1, 1, 1.5, 1.5], [40, 20, 63.5, 47.5]]
    boxes = np.array(boxes, np.float32)
    masks, centers = box_masks(jnp.asarray(boxes), (48, 64)), box_centers(jnp.asarray(boxes), (48, 64))
    for (x0, y0, x1, y1), mask, center in zip(boxes, masks, centers, strict=True):
        whole = np.zeros((48, 64))
        whole[int(y0) : int(y1 + 1), int(x0) : int(x1 + 1)] = 1
        np.testing.assert_array_equal(mask, whole[2::4, 2::4])
        rows, columns = np.nonzero(whole)
        assert center.tolist() == [columns.mean(), rows.mean()]


def test_what_is_not_compared():
    """Slots that are not used, padding and the last rows of an image change nothing."""
    random = np.random.default_rng(5)
    image = random.integers(0, 256, (1, 32, 32, 3)) // 64 * 10
    logits, masks = random.normal(size=(1, 2, 8, 8)), np.ones((1, 2, 8, 8))
    used, size, bottom = np.array([[True, False]]), np.array([[28, 20]]), np.array([8])
    function = jax.jit(box_mask_losses)

    def both(logits, image, bottom=bottom):
        found = function(*map(jnp.asarray, (logits, masks, used, image.astype(np.uint8), size, bottom)))
        return found['projection'].item(), found['pairwise'].item()

    other_logits, other_image = logits.copy(), image.copy()
    other_logits[:, 1] += 1
    assert both(logits, image) == both(other_logits, image)
    assert both(logits, image) != both(logits, image, np.array([0]))
    # Neighbours below row 20 or right of column 20 have similarity 0, whatever they look like; a pixel there is no
    # pixel of a box, of which the mask is cut here.
    masks[:, :, 5:], masks[:, :, :, 5:] = 0, 0
    other_image[:, 20:], other_image[:, :, 20:] = 255, 255
    assert both(logits, image) == both(logits, other_image)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match='size must be odd, got 4'):
        pairwise_loss(jnp.zeros((1, 5, 5)), size=4)
    with pytest.raises(ValueError, match=r'lab and valid must have the shapes .*, got \(5, 5, 3\), \(5, 4\)'):
        color_similarity(jnp.zeros((5, 5, 3)), jnp.zeros((5, 4)))
    with pytest.raises(ValueError, match=r'multiples of the stride 4, got \(6, 8, 3\)'):
        image_similarity(jnp.zeros((6, 8, 3), jnp.uint8), jnp.zeros((6, 8)))
    with pytest.raises(ValueError, match=r'image must have the shape \(\.\.\., 3\), got \(5, 4\)'):
        rgb_to_lab(jnp.zeros((5, 4)))
    with pytest.raises(TypeError, match='image must be uint8 or floating, got int32'):
        rgb_to_lab(jnp.zeros((5, 3), jnp.int32))
