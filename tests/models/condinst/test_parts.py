"""Pyramid, head and mask branch: published sizes, definitions, initial values, dtypes and errors."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from flax_dynconv.models import FPN, FCOSHead, MaskBranch
from tests.models.tiny import quick
from tests.tolerances import assert_close

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def pyramid(channels, sizes=((9, 11), (5, 6), (3, 3)), batch=2):
    """Maps of an image of 72x88 pixels: the sizes are odd, and the doubled ones too large."""
    return [RNG.standard_normal((batch, *size, channels)).astype(np.float32) for size in sizes]


def shapes(module, maps, **call):
    return jax.eval_shape(functools.partial(module.init_with_output, **call), KEY, maps)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def abstract(sizes, channels):
    return [jax.ShapeDtypeStruct((1, n, n, c), jnp.float32) for n, c in zip(sizes, channels, strict=True)]


def test_published_parameters():
    levels = abstract((16, 8, 4, 2, 1), [256] * 5)
    fpn = shapes(FPN(), abstract((16, 8, 4), (512, 1024, 2048)))[1]['params']
    assert size(fpn) == 3_868_672
    assert sorted(fpn) == [
        *(f'fpn_{kind}{level}' for kind in ('lateral', 'output') for level in (3, 4, 5)),
        'top_block_p6',
        'top_block_p7',
    ]
    head = shapes(FCOSHead(80), levels)[1]['params']
    assert size(head.pop('controller')) == 389_545
    assert size(head) == 4_920_666
    assert 'controller' not in shapes(FCOSHead(80, num_parameters=0), levels)[1]['params']
    branch = shapes(MaskBranch(), levels[:3])[1]['params']
    assert size(branch) == 1_477_384
    semantic = shapes(MaskBranch(num_classes=80), levels[:3])[1]['params']
    assert size(semantic) - size(branch) == 9 * 128 * (256 + 128) + 4 * 128 + 128 * 80 + 80


def test_pyramid_is_the_sum_of_repeated_maps():
    """With identities for convolutions; what a map of odd size has no room for is cut."""
    maps = pyramid(4)

    def identity(path, leaf):
        kernel = np.zeros(leaf.shape, leaf.dtype)
        if path[-1] == 'kernel' and 'top' not in path[0]:
            kernel[leaf.shape[0] // 2, leaf.shape[1] // 2] = np.eye(4)
        return kernel

    fpn = FPN(3, channels=4)
    variables = traverse_util.path_aware_map(identity, shapes(fpn, maps)[1]['params'])
    expected = [maps[2]]
    for x in (maps[1], maps[0]):
        repeated = expected[0].repeat(2, axis=1).repeat(2, axis=2)
        expected.insert(0, x + repeated[:, : x.shape[1], : x.shape[2]])
    for mine, theirs in zip(quick(fpn.apply)({'params': variables}, maps), expected, strict=True):
        assert_close(mine, theirs)


def test_levels_beyond_the_backbone():
    """The first is a convolution of stride 2 of the last map, the next one of its ReLU: never negative inputs count."""
    maps = pyramid(3)[:2]
    fpn = FPN(4, channels=2)
    variables = quick(fpn.init)(KEY, maps)
    levels = quick(fpn.apply)(variables, maps)
    assert [level.shape[1:3] for level in levels] == [(9, 11), (5, 6), (3, 3), (2, 2)]
    assert sorted(variables['params'])[-2:] == ['top_block_p5', 'top_block_p6']

    def strided(x, block):
        """The middle output of the first row and column: taps at -1, 0 and 1 around pixel 2 * index."""
        padded = np.pad(np.asarray(x, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
        kernel, bias = (np.asarray(block[leaf], np.float64) for leaf in ('kernel', 'bias'))
        height, width = (-(-n // 2) for n in x.shape[1:3])
        taps = [
            padded[:, i : i + 2 * height : 2, j : j + 2 * width : 2][:, :height, :width] @ kernel[i, j]
            for i, j in np.ndindex(3, 3)
        ]
        return sum(taps) + bias

    top = variables['params']
    assert_close(levels[2], strided(levels[1], top['top_block_p5']))
    assert_close(levels[3], strided(np.maximum(levels[2], 0), top['top_block_p6']))


def test_initial_values():
    """The laws of the published code; bounds of uniform ones, deviations of normal ones."""
    maps = pyramid(64, ((4, 6), (2, 3)), batch=1)
    fpn = quick(FPN(3, channels=32).init)(KEY, maps)['params']
    for name, fan_in in (('fpn_lateral3', 64), ('fpn_output4', 9 * 32), ('top_block_p5', 9 * 32)):
        largest = np.abs(fpn[name]['kernel']).max()
        assert 0.97 < largest / math.sqrt(3 / fan_in) <= 1
        assert not np.any(fpn[name]['bias'])
    head = quick(FCOSHead(5, num_convs=1).init)(KEY, maps)['params']
    for name in ('cls_tower_0', 'bbox_tower_0', 'cls_logits', 'bbox_pred', 'ctrness', 'controller'):
        assert abs(np.std(head[name]['kernel']) / 0.01 - 1) < 0.1, name
    assert abs(np.mean(head['cls_logits']['bias']) + math.log(99)) < 1e-6
    assert not np.any(head['controller']['bias'])
    np.testing.assert_array_equal([head['scales_0']['scale'], head['scales_1']['scale']], np.ones((2, 1)))
    branch = quick(MaskBranch(channels=16, num_convs=1, num_classes=5).init)(KEY, maps)['params']
    for name, fan_in in (('refine_1', 9 * 64), ('tower_0', 9 * 16), ('seg_head_1', 9 * 16)):
        assert 0.97 < np.abs(branch[name]['conv']['kernel']).max() / math.sqrt(3 / fan_in) <= 1
    assert 0.8 < np.abs(branch['tower_1']['kernel']).max() * math.sqrt(16) <= 1
    assert 0 < np.abs(branch['tower_1']['bias']).max() * math.sqrt(16) <= 1
    assert np.allclose(branch['logits']['bias'], -math.log(99))


def test_what_levels_share():
    """The same map at two levels gives the same but for the distances, which a number of each level scales."""
    (x,) = pyramid(32, ((3, 4),))
    head = FCOSHead(3, num_parameters=11, num_convs=1)
    variables = quick(head.init)(KEY, [x, x])
    variables['params']['scales_1']['scale'] = jnp.array([3.0])
    variables['params']['bbox_pred']['bias'] = jnp.array([0.02, -0.02, 0.0, 0.1])
    logits, boxes, centerness, parameters = quick(head.apply)(variables, [x, x])
    for first, second in (logits, centerness, parameters):
        np.testing.assert_array_equal(first, second)
    assert boxes[0].min() == 0 and boxes[0].max() > 0.1
    assert_close(boxes[1], 3 * boxes[0])
    np.testing.assert_array_equal(boxes[1] == 0, boxes[0] == 0)


@pytest.mark.parametrize('name', ['fpn', 'head', 'branch'])
def test_dtypes(name):
    """Half types inside; generated networks, logits and features in float32, parameters too."""
    part = {
        'fpn': FPN(3, channels=32, dtype=jnp.bfloat16),
        'head': FCOSHead(3, num_convs=1, dtype=jnp.bfloat16),
        'branch': MaskBranch(channels=8, num_convs=1, num_classes=3, dtype=jnp.bfloat16),
    }[name]
    maps = pyramid(32)
    if name == 'branch':
        assert shapes(part, maps, train=True)[0][0].dtype == jnp.float32
    y, variables = shapes(part, maps)
    wanted = jnp.bfloat16 if name == 'fpn' else jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(y)} == {jnp.dtype(wanted)}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    with jax.enable_x64(True):
        wide = [np.asarray(x, np.float64) for x in maps]
        y, _ = shapes(part.clone(dtype=None, param_dtype=jnp.float64), wide)
        assert {leaf.dtype for leaf in jax.tree.leaves(y)} == {jnp.dtype('float64')}


def test_mistakes_are_named():
    maps = pyramid(32)
    with pytest.raises(ValueError, match=r'maps: expected 1 to num_levels = 2 of them, got 3'):
        shapes(FPN(2), maps)
    for part in (FPN(3), MaskBranch()):
        with pytest.raises(ValueError, match=r'maps: expected each half as large as the one before, rounded up, got'):
            shapes(part, [maps[0], maps[2]])
    with pytest.raises(ValueError, match=r'channels: expected an int >= 1, got 0'):
        shapes(FPN(channels=0), maps)
    with pytest.raises(ValueError, match=r'maps: expected a multiple of num_groups = 32 channels, got \(2, 9, 11, 8\)'):
        shapes(FCOSHead(3), pyramid(8))
    with pytest.raises(ValueError, match=r'prior: expected a probability between 0 and 1, got 1'):
        shapes(FCOSHead(3, prior=1), maps)
    with pytest.raises(ValueError, match=r'num_classes: expected an int >= 1, got 0'):
        shapes(FCOSHead(0), maps)
    with pytest.raises(ValueError, match=r'num_convs: expected an int >= 0, got -1'):
        shapes(MaskBranch(num_convs=-1), maps)
    for part in (FCOSHead(3), MaskBranch()):
        with pytest.raises(ValueError, match=r'maps: expected at least one, got none'):
            shapes(part, [])
