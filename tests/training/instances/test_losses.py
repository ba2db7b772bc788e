"""The losses of a batch against loops in PyTorch; empty images, empty batches and empty slots; golden mask loss."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.models.condinst import SIZES_OF_INTEREST, instance_masks
from flax_dynconv.training.instances.losses import instance_losses
from flax_dynconv.training.instances.mask_losses import mask_loss
from tests.models.tiny import quick
from tests.tolerances import assert_close
from tests.training.instances import example
from tests.training.instances.stored import Stored
from tests.x64 import x64


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_mask_loss_is_adelaidets(dtype):
    """Instances of two images, in slots of their image of which some are not used."""
    with x64():
        stored = Stored('condinst_mask_loss', dtype)
        inputs, image = stored.inputs, np.asarray(stored.case.inputs['im_inds'])
        slots = [np.flatnonzero(image == i) for i in range(2)]
        index = np.array([np.pad(each, (0, 4 - len(each))) for each in slots])
        used = jnp.array([[slot < len(each) for slot in range(4)] for each in slots])
        masks = inputs['gt_bitmasks'][np.asarray(stored.case.inputs['gt_inds'])[index]]
        scales = jnp.asarray(SIZES_OF_INTEREST, dtype)[np.asarray(stored.case.inputs['levels'])[index]]

        def loss(params, features):
            made = instance_masks(jnp.moveaxis(features, 1, -1), params[index], inputs['locations'][index], scales)
            return mask_loss(made, masks, used)

        run = jax.jit(jax.value_and_grad(loss, (0, 1)))
        value, slopes = run(inputs['params'], inputs['mask_feats'])
        stored.check('out.loss_mask', value)
        stored.check('grad.params', slopes[0])
        stored.check('grad.mask_feats', slopes[1])


@functools.cache
def compiled(masks, slots=5):
    def total(maps, batch):
        losses = instance_losses(maps, batch, **example.OPTIONS, max_positives=slots, masks=masks)
        return sum(losses.values()), losses

    return quick(jax.value_and_grad(total, has_aux=True))


def run(maps, batch, masks='dice'):
    """Losses as floats and the gradients of their sum; BoxInst is given no masks."""
    if masks == 'boxinst':
        batch = {name: array for name, array in batch.items() if name not in ('masks', 'centers')}
    (_, losses), slopes = compiled(masks)(maps, batch)
    return {name: float(loss) for name, loss in losses.items()}, slopes


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_losses_and_gradients_are_those_of_loops(dtype):
    torch = pytest.importorskip('torch')
    batch = example.batch()
    made = jax.tree.map(lambda a: torch.tensor(np.asarray(a, np.float64), requires_grad=True), example.maps())
    expected, positives, chosen = example.by_loops(torch, made, batch, 5)
    assert positives > chosen > 5
    sum(expected.values()).backward()
    with x64():
        wide = {name: batch[name].astype(dtype) for name in ('boxes', 'centers')}
        losses, slopes = run(example.maps(dtype), batch | wide)
        assert losses.keys() == expected.keys()
        for name, value in expected.items():
            assert losses[name] == pytest.approx(float(value.detach()), rel=1e-11 if dtype == 'float64' else 1e-5)
        # With respect to all maps: logits, boxes, centerness, parameters, mask features, semantic.
        for slope, array in zip(jax.tree.leaves(slopes), jax.tree.leaves(made), strict=True):
            assert slope.dtype == dtype and np.any(slope)
            assert_close(slope, array.grad.numpy())


@pytest.mark.parametrize('masks', ['dice', 'boxinst'])
def test_a_batch_without_objects(masks):
    """Everything but the classes is 0, as are the gradients of boxes, centerness, parameters and mask features."""
    batch = example.batch()
    empty = batch | {'valid': jnp.zeros_like(batch['valid']), 'semantic': jnp.zeros_like(batch['semantic'])}
    # What is in empty slots means nothing.
    empty |= {'boxes': jnp.zeros_like(batch['boxes']), 'masks': jnp.zeros_like(batch['masks'])}
    losses, slopes = run(example.maps(), empty, masks)
    assert losses.pop('classification') > 0 and losses.pop('semantic') > 0
    assert losses and set(losses.values()) == {0.0}
    assert all(np.isfinite(slope).all() for slope in jax.tree.leaves(slopes))
    assert all(np.any(slope) for slope in slopes.logits)
    assert not any(np.any(s) for s in jax.tree.leaves(slopes._replace(logits=(), semantic=None)))


@pytest.mark.parametrize('masks', ['dice', 'boxinst'])
def test_empty_slots_and_filled_up_rows_change_nothing(masks):
    """Whatever they hold: losses and gradients are the same to the last bit."""
    maps, batch = example.maps(), example.batch()
    kept = {'mask': jnp.array([1.0, 1, 0])}
    expected = run(maps, batch | kept, masks)
    other = {name: np.asarray(array).copy() for name, array in batch.items()}
    random = np.random.default_rng(7)
    for name in ('boxes', 'centers', 'classes', 'masks'):
        other[name][:, -1] = random.integers(0, 2, other[name][:, -1].shape)
    other['boxes'][0, -1], other['boxes'][1, -1] = [0, 0, 64, 64], np.nan
    other['valid'][-1], other['semantic'][-1] = True, 1
    losses, slopes = run(maps, {name: jnp.asarray(array) for name, array in other.items()} | kept, masks)
    assert losses == expected[0]
    jax.tree.map(np.testing.assert_array_equal, slopes, expected[1])
    assert not any(np.any(slope[-1]) for slope in jax.tree.leaves(slopes))


def test_divisors_are_of_the_whole_batch():
    """An image without objects adds its classes only; two same images have the losses of one."""
    maps, batch = example.maps(), example.batch()
    same = jax.tree.map(lambda a: a[jnp.array([0, 0, 0])], (maps, batch))
    once, twice = (run(same[0], same[1] | {'mask': jnp.array(mask)})[0] for mask in ([1.0, 0, 0], [1.0, 1, 0]))
    for name, loss in once.items():
        assert loss > 0 and twice[name] == pytest.approx(loss, rel=1e-5)
    losses, two = run(maps, batch)[0], run(maps, batch | {'mask': jnp.array([1.0, 1, 0])})[0]
    for name in ('box', 'centerness', 'mask'):
        assert losses[name] == pytest.approx(two[name], rel=1e-5)
    assert losses['classification'] > two['classification']


def test_half_precision_is_computed_in_float32():
    half = example.maps(jnp.bfloat16)
    losses, slopes = run(half, example.batch())
    wide, expected = run(jax.tree.map(lambda a: a.astype(jnp.float32), half), example.batch())
    assert losses == pytest.approx(wide, rel=1e-5)
    for slope, exact in zip(jax.tree.leaves(slopes), jax.tree.leaves(expected), strict=True):
        assert slope.dtype == jnp.bfloat16
        # Rounded once.
        np.testing.assert_allclose(np.asarray(slope, np.float32), exact, rtol=2**-7, atol=1e-6)


def test_boxinst_needs_no_masks():
    losses, slopes = run(example.maps(), example.batch(), 'boxinst')
    assert set(losses) == {'classification', 'box', 'centerness', 'projection', 'pairwise', 'semantic'}
    assert losses['pairwise'] > 0 and all(np.isfinite(s).all() for s in jax.tree.leaves(slopes))
    assert np.any(slopes.mask_features) and np.any(slopes.parameters[0])


def test_memory_is_that_of_the_chosen_locations():
    """No array has the pixels of masks for every location, let alone for every pair of one and an object."""
    text = str(compiled('dice', 7).trace(example.maps(), example.batch()).jaxpr)
    sizes = [math.prod(map(int, shape.split(','))) for shape in re.findall(r'\[(\d+(?:,\d+)*)\]', text)]
    places, pixels, parameters = 64 + 16, 16 * 16, 169
    assert 'f32[3,7,16,16]' in text
    # The largest are the parameters of all locations.
    assert max(sizes) == 3 * places * parameters < 3 * places * pixels


def test_mistakes_are_named():
    maps, batch = example.maps(), example.batch()
    with pytest.raises(ValueError, match=r"masks must be one of \('dice', 'boxinst'\), got 'bce'"):
        instance_losses(maps, batch, **example.OPTIONS, masks='bce')
    with pytest.raises(ValueError, match=r'batch: expected boxes, .*, got none of centers, semantic'):
        less = {name: array for name, array in batch.items() if name not in ('centers', 'semantic')}
        instance_losses(maps, less, **example.OPTIONS)
    with pytest.raises(
        ValueError, match=r'masks of twice the size of the mask features \(8, 8\), got shape .* 8, 16\)'
    ):
        instance_losses(maps, batch | {'masks': batch['masks'][:, :, :8]}, **example.OPTIONS)
