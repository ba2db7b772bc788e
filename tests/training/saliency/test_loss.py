"""Cross-entropy and enhanced loss against golden numbers, PyTorch and loops in float64; edges pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.training.saliency.enhanced_loss import edge_loss, edges, enhanced_loss, region_loss
from flax_dynconv.training.saliency.loss import binary_cross_entropy, saliency_loss
from tests.golden.loader import Golden
from tests.tolerances import assert_close
from tests.x64 import x64

# How close a float64 run is to the stored float64 numbers.
GOLDEN_F64 = 1e-9


def nhwc(array, dtype):
    return jnp.asarray(np.moveaxis(array, 1, -1), dtype)


def assert_within(actual, expected, bound):
    assert np.shape(actual) == np.shape(expected)
    distance = np.abs(np.asarray(actual, np.float64) - expected).max()
    assert distance <= bound, (distance, bound)


def golden(name, dtype):
    """A golden file, its inputs in our layout, and the bound of each of its arrays."""
    case = Golden(name)

    def bound(key):
        return case.bound('eval', key) if dtype == 'float32' else GOLDEN_F64 * max(1, np.abs(case.arrays[key]).max())

    return case, nhwc(case.inputs['pred'], dtype), nhwc(case.inputs['mask'], dtype), bound


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_enhanced_loss_is_hdfnets(dtype):
    """Masks: all ones, empty, inside, at the border, scattered pixels, a disc."""
    with x64():
        case, pred, mask, bound = golden('hdfnet_hel', dtype)
        functions = {'hel': enhanced_loss, 'edge': edge_loss, 'region': region_loss, 'bce': binary_cross_entropy}
        cotangent = jnp.asarray(case.cotangents[list(case.outputs).index('out.hel')], dtype)

        def total(pred):
            parts = {part: function(pred, mask) for part, function in functions.items()}
            return jnp.sum(cotangent * parts['hel']), parts

        gradient, parts = jax.jit(jax.grad(total, has_aux=True))(pred)
        for part, values in parts.items():
            assert_within(values, case.arrays[f'out.{part}'], bound(f'out.{part}'))
        assert_within(np.moveaxis(gradient, -1, 1), case.gradients('eval')['pred'], bound('grad.pred'))


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('from_logits', [False, True])
def test_the_loss_of_training_is_hdfnets(dtype, from_logits):
    """From logits the gradient is that of the probabilities times p (1 - p)."""
    with x64():
        case, pred, mask, bound = golden('hdfnet_total_loss', dtype)
        expected = np.moveaxis(case.gradients('eval')['pred'], 1, -1)
        outputs = pred
        if from_logits:
            p = np.asarray(pred, np.float64)
            outputs, expected = jnp.asarray(np.log(p) - np.log1p(-p), dtype), expected * p * (1 - p)
        loss = jax.value_and_grad(lambda x: jnp.mean(saliency_loss(x, mask, from_logits=from_logits)))
        value, gradient = jax.jit(loss)(outputs)
        assert value.dtype == dtype
        assert_within(value, case.arrays['out'], bound('out'))
        assert_within(gradient, expected, bound('grad.pred'))


def edges_by_definition(mask):
    """A pixel is no edge if all 25 pixels of its window, with zeros outside, are the same."""
    height, width = mask.shape
    found = np.zeros(mask.shape, bool)
    for i, j in np.ndindex(mask.shape):
        window = {
            int(mask[y, x]) if 0 <= y < height and 0 <= x < width else 0
            for y in range(i - 2, i + 3)
            for x in range(j - 2, j + 3)
        }
        found[i, j] = len(window) == 2
    return found


def masks(size=12):
    random = np.random.default_rng(0)
    inside, border, half = (np.zeros((size, size), int) for _ in range(3))
    inside[4:8, 3:9] = border[:5, 6:] = half[:, : size // 2] = 1
    scattered = (random.random((size, size)) < 0.02).astype(int)
    return {
        'empty': np.zeros((size, size), int),
        'ones': np.ones((size, size), int),
        'inside': inside,
        'border': border,
        'half': half,
        'inverted': 1 - inside,
        'scattered': scattered,
        'noise': (random.random((size, size)) < 0.5).astype(int),
    }


@pytest.mark.parametrize('dtype', ['bool', 'uint8', 'bfloat16', 'float32'])
def test_edges_are_those_of_the_definition(dtype):
    cases = masks()
    found = edges(jnp.asarray(np.stack(list(cases.values()))[..., None], dtype))[..., 0]
    assert found.dtype == bool
    counts = {}
    for (name, mask), actual in zip(cases.items(), np.asarray(found), strict=True):
        np.testing.assert_array_equal(actual, edges_by_definition(mask), err_msg=name)
        counts[name] = int(actual.sum())
    assert counts['empty'] == 0
    assert counts['ones'] == 12 * 12 - 8 * 8 == 80
    # 6 columns around the step of `half`, of which 2 are within; the rest of its foreground is at three borders.
    assert counts['half'] == 4 * 12 + 2 * 12 + 2 * 2 * 2
    # Background at the border is no edge: only the frame around the hole and the border itself.
    assert not np.asarray(found)[list(cases).index('inside')][0].any()


def test_large_windows_have_no_false_edges():
    """On 320 x 320 as in training, where weights of 1/25 would mark a constant foreground."""
    mask = np.zeros((1, 320, 320, 1), np.float32)
    mask[:, 50:250, 60:301] = 1
    found = np.asarray(edges(jnp.asarray(mask)))[0, :, :, 0]
    assert found.sum() == 204 * 245 - 196 * 237
    assert not found[52:248, 62:299].any() and found[48:52, 58:303].all()


def enhanced_by_loops(pred, mask, eps=1e-6):
    """Values and gradient in float64, image by image and channel by channel."""
    values, gradient = np.zeros(len(pred)), np.zeros(pred.shape)
    for n, c in np.ndindex(len(pred), pred.shape[-1]):
        p, g = pred[n, :, :, c], mask[n, :, :, c]
        edge, share = edges_by_definition(g), 1 / pred.shape[-1]
        values[n] += share * sum(abs(p[edge] - g[edge])) / (edge.sum() + eps)
        values[n] += share * (sum(1 - p[g == 1]) / (g.sum() + eps) + sum(p[g == 0]) / ((1 - g).sum() + eps))
        slope = edge * np.sign(p - g) / (edge.sum() + eps)
        slope += np.where(g == 1, -1 / (g.sum() + eps), 1 / ((1 - g).sum() + eps))
        gradient[n, :, :, c] = share * slope
    return values, gradient


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_enhanced_loss_and_gradient_are_those_of_loops(dtype):
    """With two channels, of which each has a mask and a mean of its own."""
    each = np.stack(list(masks().values()))
    mask = np.stack([each, each[::-1]], axis=-1)
    pred = np.random.default_rng(1).random(mask.shape)
    with x64():
        pred = jnp.asarray(pred, dtype)
        values, gradient = enhanced_by_loops(np.asarray(pred, np.float64), mask)
        weights = jnp.arange(1.0, len(mask) + 1, dtype=dtype)

        def total(pred):
            losses = enhanced_loss(pred, jnp.asarray(mask))
            return jnp.sum(weights * losses), losses

        slope, losses = jax.jit(jax.grad(total, has_aux=True))(pred)
        assert slope.dtype == losses.dtype == dtype
        assert_close(losses, values)
        assert_close(slope, gradient * np.asarray(weights)[:, None, None, None])


@pytest.mark.parametrize('from_logits', [False, True])
def test_gradients_are_finite_differences(from_logits):
    """Of the whole loss, in float64; no probability is within a step of its mask's value."""
    random, step = np.random.default_rng(2), 1e-6
    mask = np.stack([masks(6)['noise'], masks(6)['border'], masks(6)['empty']])[..., None]
    pred = random.uniform(-3, 3, mask.shape) if from_logits else random.uniform(0.05, 0.95, mask.shape)
    with x64():
        loss = jax.jit(jax.vmap(lambda x: jnp.sum(saliency_loss(x, jnp.asarray(mask), 0.7, from_logits))))
        shifts = step * np.eye(pred.size).reshape(-1, *pred.shape)
        expected = (loss(pred + shifts) - loss(pred - shifts)) / (2 * step)
        gradient = jax.jit(jax.grad(lambda x: loss(x[None])[0]))(jnp.asarray(pred))
        assert_within(np.ravel(gradient), np.asarray(expected), 1e-8)


@pytest.mark.parametrize('from_logits', [False, True])
def test_cross_entropy_is_pytorchs_where_it_is_certain(from_logits):
    """Right, wrong and undecided, at probabilities of exactly 0 and 1 and at large logits: value and gradient."""
    torch = pytest.importorskip('torch')
    mask = np.array([[0.0, 1.0, 0.0, 1.0, 0.3, 1.0]])
    outputs = np.array([[200.0, 200.0, -200.0, -200.0, 0.0, 30.0] if from_logits else [1.0, 1.0, 0.0, 0.0, 0.5, 1e-7]])
    x = torch.tensor(outputs, requires_grad=True)
    name = 'binary_cross_entropy_with_logits' if from_logits else 'binary_cross_entropy'
    loss = getattr(torch.nn.functional, name)(x, torch.tensor(mask))
    loss.backward()
    with x64():
        ours = jax.value_and_grad(lambda x: binary_cross_entropy(x, jnp.asarray(mask), from_logits)[0])
        value, slope = jax.jit(ours)(jnp.asarray(outputs))
        np.testing.assert_allclose(value, loss.detach().numpy(), rtol=1e-12)
        # Its gradient from logits is p - g, of which digits are lost; its 1e-12 is a float32.
        np.testing.assert_allclose(slope, x.grad.numpy(), **({'atol': 1e-16} if from_logits else {'rtol': 1e-8}))


def test_the_gradient_of_a_soft_mask():
    """log((1 - p) / p), which a teacher's probabilities would need."""
    with x64():
        p, g = jnp.asarray([[0.2, 0.9]]), jnp.asarray([[0.4, 0.7]])
        slope = jax.grad(lambda g: binary_cross_entropy(p, g)[0])(g)
        np.testing.assert_allclose(slope, np.log((1 - p) / p) / 2, rtol=1e-12)


def test_an_empty_mask_costs_the_mean_of_the_prediction():
    pred = np.random.default_rng(3).random((2, 7, 5, 1))
    found = enhanced_loss(jnp.asarray(pred, jnp.float32), jnp.zeros(pred.shape))
    assert_close(found, pred.mean(axis=(1, 2, 3)))


def test_cross_entropy_alone_and_weighted():
    pred, mask = jnp.full((1, 5, 5, 1), 0.3), jnp.zeros((1, 5, 5, 1), bool)
    cross, enhanced = binary_cross_entropy(pred, mask), enhanced_loss(pred, mask)
    assert saliency_loss(pred, mask, enhanced=0) == cross
    assert_close(saliency_loss(pred, mask, enhanced=2.5), cross + 2.5 * enhanced)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_narrow_predictions_are_computed_in_float32(dtype):
    """Sums over 16,384 pixels, which neither dtype could count."""
    mask = np.zeros((1, 128, 128, 1), int)
    mask[:, 20:90, 30:] = 1
    pred = jnp.asarray(np.random.default_rng(4).random(mask.shape), dtype)
    found = enhanced_loss(pred, jnp.asarray(mask))
    assert found.dtype == jnp.float32
    assert_close(found, enhanced_by_loops(np.asarray(pred, np.float64), mask)[0])


@pytest.mark.parametrize('kind', [AxisType.Auto, AxisType.Explicit])
def test_images_stay_on_their_devices(kind):
    random = np.random.default_rng(5)
    pred, mask = random.random((8, 9, 7, 1), np.float32), random.integers(0, 2, (8, 9, 7, 1), np.uint8)
    mesh = jax.make_mesh((8,), ('data',), axis_types=(kind,))
    with jax.set_mesh(mesh):
        step = jax.jit(jax.value_and_grad(lambda pred, mask: jnp.mean(saliency_loss(pred, mask))))
        program = step.lower(*jax.device_put((pred, mask), NamedSharding(mesh, P('data')))).compile()
        text = program.as_text()
        assert 'all-reduce' in text and not any(word in text for word in ('all-gather', 'all-to-all', 'permute'))
        found = program(*jax.device_put((pred, mask), NamedSharding(mesh, P('data'))))
    expected = jax.jit(jax.value_and_grad(lambda *arrays: jnp.mean(saliency_loss(*arrays))))(pred, mask)
    jax.tree.map(assert_close, found, expected)


def test_mistakes_are_named():
    square = jnp.zeros((1, 4, 4, 1))
    with pytest.raises(ValueError, match=r'pred and mask must have the same shape \(N, H, W, C\), got .* \(1, 4, 4\)'):
        enhanced_loss(square, square[..., 0])
    with pytest.raises(ValueError, match=r'mask must have the shape \(N, H, W, C\), got \(4, 4\)'):
        edges(square[0, ..., 0])
    with pytest.raises(ValueError, match=r'outputs and mask must have the same shape, got \(1, 4, 4, 1\) and'):
        saliency_loss(square, square[:, :3])
