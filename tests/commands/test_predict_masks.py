"""predict with a run of segmentation: the class of every pixel as PNG files."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from flax_dynconv.commands import predict
from flax_dynconv.layers import resize_bilinear
from flax_dynconv.training import experiment
from flax_dynconv.training.palette import palette
from tests.training.data.images import write_folder
from tests.training.data.labelled import NAMES, arrays, files
from tests.training.test_segmentation import SETTINGS

ARGUMENTS = '{"filter_sizes": [1], "channels": 4, "auxiliary": false}'


@pytest.fixture(scope='module')
def labelled(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp('labelled'), files())


@pytest.fixture(scope='module')
def masks_run(labelled, tmp_path_factory):
    """The folder of a short run on them, of the dynamic network alone."""
    folder = tmp_path_factory.mktemp('run')
    settings = SETTINGS.updated(data=str(labelled), evaluation_batch_size=8, arguments=ARGUMENTS)
    experiment.run(dataclasses.replace(settings, epochs=1), folder)
    return folder


def logits(run, pixels, **changes):
    """Straight from the network."""
    subject = predict.of_run(run, changes=changes)
    variables = jax.device_get(subject.variables)
    return jax.jit(lambda v, x: subject.task.predict(subject.model, v, {'image': x}))(variables, pixels[None])[0]


def test_labels_and_overlays_have_the_size_of_their_images(masks_run, labelled, tmp_path, command):
    """Whose data may be gone, and of which each has a size of its own."""
    out = tmp_path / 'masks'
    images = [labelled / 'val' / 'images' / f'im{number}.png' for number in range(2)]
    code, said = command('predict', *images, '--run', masks_run, '--output', out, '--json')
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f'im{n}{end}.png' for n in range(2) for end in ('', '_overlay')
    ]
    for number, record in enumerate(json.loads(said)):
        pixels, _ = arrays('val', number)
        expected = np.argmax(logits(masks_run, pixels), axis=-1)
        mask = Image.open(record['labels'])
        assert mask.mode == 'P' and mask.getpalette()[: 3 * len(NAMES)] == palette(len(NAMES)).ravel().tolist()
        # A pixel may differ whose best logits are equal but for rounding.
        assert (np.asarray(mask) == expected).mean() > 0.98
        overlay = np.asarray(Image.open(record['overlay'])).astype(int)
        mixed = (pixels.astype(int) + palette(len(NAMES))[np.asarray(mask)]) / 2
        assert np.abs(overlay - mixed).max() <= 1
        shares = {each['class']: each['share'] for each in record['classes']}
        assert sum(shares.values()) == pytest.approx(1)
        for label, name in enumerate(NAMES):
            assert shares.get(name, 0) == pytest.approx((np.asarray(mask) == label).mean())
            assert all(each['label'] == NAMES.index(each['class']) for each in record['classes'])


def test_predictions_at_another_size_are_scaled_back(masks_run, labelled, tmp_path, command):
    image = labelled / 'val' / 'images' / 'im2.png'
    command('predict', image, '--run', masks_run, '--output', tmp_path / 'masks', '--resize', '28')
    pixels = np.asarray(Image.open(image).resize((28, 14), Image.Resampling.BILINEAR).resize((28, 28), 2))
    found = resize_bilinear(logits(masks_run, pixels)[None], (14, 14))[0]
    mask = np.asarray(Image.open(tmp_path / 'masks' / 'im2.png'))
    assert mask.shape == (14, 14)
    assert (mask == np.argmax(found, axis=-1)).mean() > 0.98


def test_what_is_printed(masks_run, labelled, tmp_path, command):
    image = labelled / 'val' / 'images' / 'im0.png'
    _, said = command('predict', image, '--run', masks_run, '--output', tmp_path, '--top', '1')
    mask = np.asarray(Image.open(tmp_path / 'im0.png'))
    share = np.bincount(mask.ravel()).max() / mask.size
    name = NAMES[np.bincount(mask.ravel()).argmax()]
    assert said.splitlines() == [
        f'{image}: {tmp_path / "im0.png"}, {tmp_path / "im0_overlay.png"}',
        f'{100 * share:8.2f} %  {name}',
    ]


def test_mistakes_are_named(masks_run, labelled, tmp_path, command):
    image = labelled / 'val' / 'images' / 'im0.png'
    with pytest.raises(ValueError, match=r'--output DIR is needed with a run of segment:'):
        command('predict', image, '--run', masks_run)
    with pytest.raises(ValueError, match=r'images must have different names for --output, got .*im0.png and .*im0.png'):
        command('predict', image, labelled / 'train' / 'images' / 'im0.png', '--run', masks_run, '--output', tmp_path)
    with pytest.raises(ValueError, match=r'im0.png is an image itself and would be overwritten'):
        command('predict', image, '--run', masks_run, '--output', image.parent)
    (tmp_path / 'cut.png').write_bytes(image.read_bytes()[:80])
    with pytest.raises(ValueError, match=r'cut.png cannot be read: '):
        command('predict', tmp_path / 'cut.png', '--run', masks_run, '--output', tmp_path / 'masks')
