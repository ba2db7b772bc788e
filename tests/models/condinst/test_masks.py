"""Masks of instances against PyTorch's grouped convolutions, stored numbers, hand-made networks; chunks, shardings."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.layers import aligned_bilinear
from flax_dynconv.models import SIZES_OF_INTEREST, instance_masks
from tests.compiled.programs import collectives
from tests.golden.loader import Golden
from tests.models.tiny import quick
from tests.tolerances import assert_close

# Channels of the layers, coordinates, and the published lengths of the vector.
LAYOUTS = {169: ((10, 8, 8, 1), True), 233: ((18, 8, 8, 1), True), 153: ((8, 8, 8, 1), False)}
SIZE = (5, 7)


def make(length=169, batch=2, instances=5, size=SIZE, dtype=np.float32, seed=0):
    """(features, parameters, locations, scales), and the layout's keywords."""
    channels, coordinates = LAYOUTS[length]
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((batch, *size, channels[0] - 2 * coordinates))
    parameters = 0.5 * rng.standard_normal((batch, instances, length))
    locations = rng.integers(0, 8 * max(size), (batch, instances, 2))
    scales = rng.choice(SIZES_OF_INTEREST[:3], (batch, instances))
    arrays = tuple(array.astype(dtype) for array in (features, parameters, locations, scales))
    return arrays, {'channels': channels, 'relative_coordinates': coordinates}


def grouped(features, parameters, locations, scales, *, channels, relative_coordinates):
    """The same in PyTorch: instances as groups of one convolution, on one copy of [coordinates, features] for each."""
    torch = pytest.importorskip('torch')
    batch, count, _ = parameters.shape
    height, width, _ = features.shape[1:]
    rows, columns = torch.meshgrid(8.0 * torch.arange(height) + 4, 8.0 * torch.arange(width) + 4, indexing='ij')
    results = []
    for b in range(batch):
        x = features[b].movedim(-1, 0).expand(count, -1, -1, -1)
        if relative_coordinates:
            across, down = (locations[b, :, i, None, None] - grid for i, grid in enumerate((columns, rows)))
            x = torch.cat([torch.stack([across, down], 1) / scales[b, :, None, None, None], x], 1)
        x = x.reshape(1, -1, height, width)
        sizes = [o * i for i, o in itertools.pairwise(channels)]
        parts = parameters[b].split([*sizes, *channels[1:]], dim=1)
        for layer, (i, o) in enumerate(itertools.pairwise(channels)):
            weight = parts[layer].reshape(count * o, i, 1, 1)
            bias = parts[len(sizes) + layer].reshape(-1)
            x = torch.nn.functional.conv2d(torch.relu(x) if layer else x, weight, bias, groups=count)
        pad, resize = torch.nn.functional.pad, torch.nn.functional.interpolate
        x = resize(
            pad(x, (0, 1, 0, 1), 'replicate'), (2 * height + 1, 2 * width + 1), mode='bilinear', align_corners=True
        )
        results.append(pad(x, (1, 0, 1, 0), 'replicate')[0, :, : 2 * height, : 2 * width])
    return torch.stack(results)


@pytest.mark.parametrize(('length', 'chunk'), [(169, None), (169, 2), (233, None), (153, 2)])
def test_grouped_convolutions_of_pytorch(length, chunk):
    """Logits and the gradients of all operands, in float64."""
    torch = pytest.importorskip('torch')
    arrays, layout = make(length, dtype=np.float64)
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    expected = grouped(*tensors, **layout)
    weight = np.random.default_rng(1).standard_normal(expected.shape)
    taken = 4 if layout['relative_coordinates'] else 2
    gradients = torch.autograd.grad((expected * torch.tensor(weight)).sum(), tensors[:taken])

    def loss(*arrays):
        logits = instance_masks(*arrays, chunk=chunk, **layout)
        return (logits * weight).sum(), logits

    with jax.enable_x64(True):
        (_, logits), found = quick(jax.value_and_grad(loss, tuple(range(taken)), has_aux=True))(*arrays)
        assert logits.dtype == jnp.float64
        assert_close(logits, expected.detach().numpy())
        for mine, theirs in zip(found, gradients, strict=True):
            assert_close(mine, theirs.numpy())


@pytest.mark.parametrize('name', ['condinst_mask_logits_169', 'condinst_mask_logits_233_boxinst'])
def test_stored_numbers(name):
    """Instances of different images in one row become rows of instances of each image, some of them empty."""
    golden = Golden(name)
    i, length = golden.inputs, golden.inputs['params'].shape[1]
    features = np.moveaxis(i['mask_feats'], 1, -1)
    images = i['im_inds'].astype(int)
    slots = [int((images[:n] == image).sum()) for n, image in enumerate(images)]
    shape = (len(features), max(slots) + 1)
    parameters, locations, scales = np.zeros((*shape, length)), np.zeros((*shape, 2)), np.ones(shape)
    at = (images, np.array(slots))
    parameters[at], locations[at] = i['params'], i['locations']
    scales[at] = np.array(SIZES_OF_INTEREST)[i['levels'].astype(int)]
    g = np.zeros((*shape, *golden.arrays['out.logits'].shape[2:]))
    g[at] = golden.cotangents[0][:, 0]

    def loss(features, parameters):
        fixed = (locations.astype(features.dtype), scales.astype(features.dtype))
        logits = instance_masks(features, parameters, *fixed, channels=LAYOUTS[length][0])
        return (logits * g.astype(logits.dtype)).sum(), logits

    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            arguments = (features.astype(dtype), parameters.astype(dtype))
            (_, logits), found = quick(jax.value_and_grad(loss, (0, 1), has_aux=True))(*arguments)
        expected = {'out.logits': golden.arrays['out.logits'][:, 0], 'grad.params': golden.arrays['grad.params']}
        expected['grad.mask_feats'] = np.moveaxis(golden.arrays['grad.mask_feats'], 1, -1)
        actual = (np.asarray(logits)[at], np.asarray(found[1])[at], np.asarray(found[0]))
        for (key, value), mine in zip(expected.items(), actual, strict=True):
            bound = golden.bound('eval', key) if dtype == np.float32 else 1e-11 * np.abs(value).max()
            assert np.abs(mine - value).max() <= bound, key


def test_sign_and_order_of_coordinates():
    """One layer of which one weight is 1: instance minus position, x before y, then the features; all weights first."""
    features = np.arange(2 * 3 * 2.0, dtype=np.float32).reshape(1, 2, 3, 2)
    locations, scales = jnp.array([[[20.0, 4.0]]]), jnp.array([[8.0]])
    expected = [
        [[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]],  # (20 - (8 column + 4)) / 8
        [[0.0, 0.0, 0.0], [-1.0, -1.0, -1.0]],  # (4 - (8 row + 4)) / 8
        features[0, ..., 0],
        features[0, ..., 1],
        np.ones((2, 3)),  # the bias comes last
    ]
    for place, values in enumerate(expected):
        parameters = jnp.zeros((1, 1, 5)).at[..., place].set(1)
        call = functools.partial(instance_masks, features, parameters, locations, scales, channels=(4, 1))
        np.testing.assert_allclose(call(upsample=1)[0, 0], values)
        np.testing.assert_allclose(call(), aligned_bilinear(call(upsample=1), 2, (2, 3)))


def test_chunks_are_the_same():
    arrays, layout = make()
    masks = quick(functools.partial(instance_masks, **layout))(*arrays)
    for chunk in (3, 9):
        assert_close(quick(functools.partial(instance_masks, chunk=chunk, **layout))(*arrays), masks)
    none = [array[:, :0] if i else array for i, array in enumerate(arrays)]
    assert instance_masks(*none, chunk=3).shape == (2, 0, 10, 14)


def test_chunks_bound_the_memory():
    """Beyond operands and results: an eighth of the instances at a time need less than a fourth of the memory."""
    arrays, layout = make(batch=1, instances=64, size=(32, 48))

    def temporaries(chunk):
        compiled = jax.jit(functools.partial(instance_masks, chunk=chunk, **layout)).lower(*arrays).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(8) < temporaries(None) / 4


def test_networks_run_once_for_each_position():
    """Enlarging does not compute a network again for every output: the program's operations are those of the parts."""
    arrays, layout = make(batch=1, instances=16, size=(16, 24))

    def operations(function, *arrays):
        return jax.jit(function).lower(*arrays).compile().cost_analysis()['flops']

    head = operations(functools.partial(instance_masks, upsample=1, **layout), *arrays)
    enlarging = operations(lambda x: aligned_bilinear(x, 2, (2, 3)), np.ones((1, 16, 16, 24), np.float32))
    assert operations(functools.partial(instance_masks, **layout), *arrays) < 1.2 * (head + enlarging)


def test_half_types():
    """Features and parameters of a half type: logits in float32, off by the rounding of the operands alone."""
    arrays, layout = make()
    half = [jnp.asarray(array, jnp.bfloat16) for array in arrays[:2]]
    masks = quick(functools.partial(instance_masks, **layout))(*half, *arrays[2:])
    assert masks.dtype == jnp.float32
    rounded = [np.asarray(array, np.float32) for array in half]
    assert_close(masks, quick(functools.partial(instance_masks, **layout))(*rounded, *arrays[2:]))


def test_nothing_is_gathered_where_the_batch_is_sharded():
    arrays, layout = make(batch=8)

    def loss(*arrays):
        return (instance_masks(*arrays, chunk=2, **layout) ** 2).sum(axis=(1, 2, 3))

    def gradients(*arrays):
        losses, pull = jax.vjp(loss, *arrays)
        return losses, pull(jnp.ones_like(losses))

    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, P('data'))
    with jax.set_mesh(mesh):
        placed = jax.device_put(arrays, split)
        compiled = quick(gradients).lower(*placed).compile()
        actual = compiled(*placed)
    assert not collectives(compiled)
    expected = quick(gradients)(*arrays)
    for mine, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        scale = np.abs(theirs).max()
        assert_close(np.asarray(mine) / scale, np.asarray(theirs) / scale)


def test_mistakes_are_named():
    arrays, layout = make()
    with pytest.raises(ValueError, match=r'chunk: expected an int >= 1, got 0'):
        instance_masks(*arrays, chunk=0, **layout)
    with pytest.raises(ValueError, match=r'upsample: expected an int >= 1, got 0.5'):
        instance_masks(*arrays, upsample=0.5, **layout)
    with pytest.raises(ValueError, match=r'parameters: expected 3 dimensions \(B, N, G\), got shape \(5, 169\)'):
        instance_masks(arrays[0], arrays[1][0], *arrays[2:], **layout)
    with pytest.raises(ValueError, match=r'vector: expected shape .* G = 153 parameters'):
        instance_masks(*arrays, channels=(8, 8, 8, 1))
    with pytest.raises(ValueError, match=r'locations: expected shape \(B, N, 2\)'):
        instance_masks(*arrays[:2], arrays[2][:, :2], arrays[3], chunk=2, **layout)
    with pytest.raises(ValueError, match=r'scales: expected an array where there are relative coordinates, got None'):
        instance_masks(*arrays[:3], None, **layout)


def test_without_coordinates_there_are_no_locations():
    arrays, layout = make(153)
    masks = functools.partial(instance_masks, chunk=2, **layout)
    np.testing.assert_array_equal(quick(masks)(*arrays[:2], None, None), quick(masks)(*arrays))


def test_the_lengths_are_the_published_ones():
    for length, (channels, _) in LAYOUTS.items():
        assert length == sum(math.prod(pair) + pair[1] for pair in itertools.pairwise(channels))
