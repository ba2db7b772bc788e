"""Facts of published weights, and the images that they make, against hand-computed values and PIL."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.models import MODELS, Preprocessing, preprocess, preprocessing, registry

PLAIN = Preprocessing(2, 2, 'bilinear', (0.0,), (1.0,), 'test')
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize('name', MODELS)
def test_every_model_has_facts(name):
    facts = preprocessing(name)
    assert facts.image_size <= facts.resize
    assert facts.interpolation in ('bilinear', 'bicubic')
    assert len(facts.mean) == len(facts.std) == 3
    assert facts.source


@pytest.mark.parametrize(
    ('name', 'size', 'resize', 'interpolation', 'statistics', 'source'),
    [
        ('resnet50', 224, 256, 'bilinear', IMAGENET, 'torchvision'),
        ('mobilenetv2_100', 224, 256, 'bilinear', IMAGENET, 'torchvision'),
        ('mobilenetv3_small', 224, 256, 'bilinear', IMAGENET, 'torchvision'),
        ('shufflenetv2_100', 224, 256, 'bilinear', IMAGENET, 'torchvision'),
        ('shufflenetv2_150', 224, 232, 'bilinear', IMAGENET, 'torchvision'),
        ('shufflenetv2_200', 224, 232, 'bilinear', IMAGENET, 'torchvision'),
        ('resnet10', 224, 256, 'bilinear', IMAGENET, 'no weights published'),
        ('mobilenetv2_050', 224, 256, 'bilinear', IMAGENET, 'no weights published'),
        ('mobilenetv2_075', 224, 256, 'bilinear', IMAGENET, 'no weights published'),
        ('odconv_mobilenetv2_100_4x', 224, 256, 'bilinear', IMAGENET, 'OSVAI/ODConv'),
        ('dyconv_resnet18_4x', 224, 256, 'bilinear', IMAGENET, 'no weights published'),
        ('efficientnet_b0', 224, 256, 'bicubic', IMAGENET, 'tf_efficientnet_b0.in1k'),
        ('efficientnet_b1', 240, 272, 'bicubic', IMAGENET, 'tf_efficientnet_b1.in1k'),
        ('condconv_efficientnet_b0_8e', 224, 256, 'bicubic', HALF, 'tf_efficientnet_cc_b0'),
        ('condconv_efficientnet_b1_8e', 240, 272, 'bicubic', HALF, 'tf_efficientnet_cc_b1'),
        ('condconv_resnet18_8x', 224, 256, 'bilinear', IMAGENET, 'no weights published'),
    ],
)
def test_facts(name, size, resize, interpolation, statistics, source):
    facts = preprocessing(name)
    assert (facts.image_size, facts.resize, facts.interpolation) == (size, resize, interpolation)
    assert (facts.mean, facts.std) == statistics
    assert source in facts.source


def test_torchvision_is_named_where_it_has_weights():
    """torchvision.models.list_models(), for the networks that are here."""
    published = {'resnet18', 'resnet34', 'resnet50', 'resnet101', 'mobilenetv2_100'}
    published |= {f'mobilenetv3_{size}' for size in ('small', 'large')}
    published |= {f'shufflenetv2_{size}' for size in ('050', '100', '150', '200')} | {'vgg16_bn', 'vgg19_bn'}
    assert {name for name in MODELS if 'torchvision' in preprocessing(name).source} == published


def test_crop_share():
    assert preprocessing('resnet50').crop_pct == 0.875
    assert preprocessing('efficientnet_b1').crop_pct == pytest.approx(0.882, abs=5e-4)


def test_small_networks_have_small_images():
    for name in ('resnet8', 'odconv_resnet20_4x', 'dyconv_resnet8_4x', 'vgg8_bn'):
        assert preprocessing(name)[:2] == (32, 32)


def test_unknown_names(monkeypatch):
    with pytest.raises(ValueError, match=r"got 'resnet19'; did you mean resnet"):
        preprocessing('resnet19')
    monkeypatch.setitem(registry.MODELS, 'lenet', None)
    with pytest.raises(ValueError, match=r"no preprocessing is known for 'lenet'; describe it by a Preprocessing"):
        preprocessing('lenet')


def test_halving_by_hand():
    """Bilinear with antialiasing: a triangle two source pixels wide on both sides, 3/7, 3/7, 1/7 at a border."""
    weights = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    image = np.random.default_rng(0).random((4, 4, 1)).astype(np.float32)
    expected = np.einsum('ih,jw,hwc->ijc', weights, weights, image)
    np.testing.assert_allclose(preprocess(image, PLAIN), expected, atol=1e-6)


def test_halves_are_rounded_up():
    """Inside an image half as wide, the weights of four columns are 1, 3, 3, 1 over 8: of 12, 36/8 and 12/8."""
    image = np.zeros((8, 8, 1), np.uint8)
    image[:, 3] = 12
    levels = preprocess(image, PLAIN._replace(resize=4)) * 255
    np.testing.assert_allclose(levels[..., 0], [[5, 2], [5, 2]], rtol=1e-6)


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_halving_as_pil(interpolation):
    """Inside the image all weights are binary fractions: many exact halves, and nothing else to differ in."""
    image_module = pytest.importorskip('PIL.Image', reason='the comparison needs Pillow')
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    method = {'bilinear': image_module.BILINEAR, 'bicubic': image_module.BICUBIC}[interpolation]
    expected = np.asarray(image_module.fromarray(image).resize((32, 32), method))[2:-2, 2:-2]
    facts = Preprocessing(28, 32, interpolation, (0.0,) * 3, (1.0,) * 3, 'test')
    np.testing.assert_allclose(preprocess(image, facts) * 255, expected, atol=1e-3)


def test_crop_and_normalisation_by_hand():
    """The shorter side has its length already: the centre is cut out, and the margin 1.5 is rounded to even, 2."""
    facts = Preprocessing(2, 4, 'bilinear', (0.25, 0.5), (0.5, 2.0), 'test')
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 2), dtype=np.uint8)
    expected = (image[:, 1:3, 2:4] / 255 - np.array([0.25, 0.5])) / np.array([0.5, 2.0])
    got = preprocess(image, facts)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(preprocess(image[1], facts), expected[1], atol=1e-6)


def test_portrait_and_landscape():
    facts = preprocessing('resnet8')
    image = np.random.default_rng(0).integers(0, 256, (50, 71, 3), dtype=np.uint8)
    wide, tall = preprocess(image, facts), preprocess(np.swapaxes(image, 0, 1), facts)
    assert wide.shape == (32, 32, 3)
    # Directions are resampled one after the other, each rounded to whole levels.
    assert np.abs(wide - np.swapaxes(tall, 0, 1)).max() <= 1.01 / 255 / min(facts.std)


def test_floating_images_are_levels_over_255_and_not_rounded():
    image = np.random.default_rng(0).integers(0, 256, (40, 48, 1), dtype=np.uint8)
    facts = Preprocessing(28, 32, 'bicubic', (0.5,), (0.5,), 'test')
    levels, floating = preprocess(image, facts), preprocess(image / np.float32(255), facts)
    difference = np.abs(levels - floating).max() * 0.5 * 255
    assert 0.4 < difference < 1.5
    assert np.abs(floating).max() <= 1


def test_it_compiles():
    facts = preprocessing('resnet8')
    image = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    compiled = jax.jit(lambda x: preprocess(x, facts))(image)
    np.testing.assert_allclose(compiled, preprocess(image, facts), atol=1e-6)


@pytest.mark.parametrize('name', ['resnet18', 'condconv_efficientnet_b1_8e'])
@pytest.mark.parametrize('shape', [(300, 401, 3), (100, 83, 3)])
def test_as_pil(name, shape):
    image_module = pytest.importorskip('PIL.Image', reason='the comparison needs Pillow')
    facts = preprocessing(name)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    height, width = (int(facts.resize * side / min(shape[:2])) for side in shape[:2])
    method = {'bilinear': image_module.BILINEAR, 'bicubic': image_module.BICUBIC}[facts.interpolation]
    resized = np.asarray(image_module.fromarray(image).resize((width, height), method))
    size = facts.image_size
    top, left = round((height - size) / 2), round((width - size) / 2)
    expected = resized[top : top + size, left : left + size].astype(np.float64)
    got = (np.asarray(preprocess(image, facts), np.float64) * facts.std + facts.mean) * 255
    assert np.abs(got - expected).max() < 1.001
    assert np.mean(np.abs(got - expected) > 0.5) < 0.01


def test_mistakes_are_named():
    image = np.zeros((8, 8, 1), np.uint8)
    for wrong, error, message in [
        (image[..., 0], ValueError, r'image must have shape \(H, W, C\) or \(B, H, W, C\), got \(8, 8\)'),
        (np.zeros((8, 8, 3), np.uint8), ValueError, r'image must have 1 channels, as facts.mean and .std, got'),
        (image.astype(np.int32), TypeError, r'image must be uint8 or floating, got int32'),
    ]:
        with pytest.raises(error, match=message):
            preprocess(wrong, PLAIN)
    with pytest.raises(ValueError, match=r'facts.image_size must be at most facts.resize = 2, got 3'):
        preprocess(image, PLAIN._replace(image_size=3))
    with pytest.raises(ValueError, match=r"facts.interpolation must be one of \('bilinear', 'bicubic'\), got 'area'"):
        preprocess(image, PLAIN._replace(interpolation='area'))
