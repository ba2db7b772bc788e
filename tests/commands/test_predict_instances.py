"""predict with a run of instances on a folder in COCO's format: its results json and pictures."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from flax_dynconv.commands import predict, predict_instances
from flax_dynconv.training import experiment, run_folder
from flax_dynconv.training.data.instance_results import results_of_image
from tests.training.conftest import compiled_fast, compiled_once  # noqa: F401
from tests.training.data.coco_files import HEIGHT, SQUARE, WIDTH, annotation, content, files, pixels
from tests.training.data.images import write_folder
from tests.training.test_instances import SETTINGS

CATEGORIES = (2, 7, 90)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    # An image for each of the eight devices.
    train = content() | {
        'images': [{'id': n, 'file_name': '0009.png', 'height': HEIGHT, 'width': WIDTH} for n in range(8)],
        'annotations': [annotation(n + 1, n, CATEGORIES[n % 3], SQUARE, [10.0, 5.0, 10.0, 10.0]) for n in range(8)],
    }
    return write_folder(tmp_path_factory.mktemp('coco'), files(train=train))


@pytest.fixture(scope='module')
def instances_run(folder, compiled_fast, tmp_path_factory):  # noqa: F811
    """The folder of a run of one step."""
    place = tmp_path_factory.mktemp('run')
    settings = SETTINGS.updated(data=str(folder), canvas=(32, 64), image_size=None, resize=24, evaluation_batch_size=4)
    experiment.run(settings.updated(train_examples=1600, test_examples=160), place)
    return place


def test_a_run_knows_the_ids_of_its_categories(instances_run):
    results = run_folder.read_results(instances_run)
    assert results['classes'] == ['dog', 'cat', 'bird'] and results['category_ids'] == list(CATEGORIES)
    # Of five detections in each of four images hardly any is right after a step.
    assert 0 <= results['dynamic']['test_mask_ap'] < 0.5 and 'test_box_ap50' in results['dynamic']


def test_results_are_those_of_the_network_in_the_files_pixels(instances_run, folder, tmp_path, command):
    out = tmp_path / 'objects'
    images = [folder / 'val2017' / f'{number:04}.png' for number in (9, 3)]
    code, said = command('predict', *images, '--run', instances_run, '--output', out, '--json', '--top', 2)
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ['0003_objects.png', '0009_objects.png', 'results.json']
    results = json.loads((out / 'results.json').read_text())
    subject = predict.of_run(instances_run)
    variables = jax.device_get(subject.variables)
    for number, record in zip((9, 3), json.loads(said), strict=True):
        arrays = subject.task.evaluation_transform(Image.fromarray(pixels('val', number)), [])
        assert arrays['size'].tolist() == [24, 32]
        batch = {name: arrays[name][None] for name in ('image', 'size')}
        _, found, masks = jax.jit(lambda v, b: subject.task.predict(subject.model, v, b))(variables, batch)
        expected = results_of_image(
            *(np.asarray(array[0]) for array in (found.boxes, found.scores, found.classes, found.valid, masks)),
            size=(24, 32),
            original=(HEIGHT, WIDTH),
            image_id=number,
            category_ids=CATEGORIES,
        )
        own = [each for each in results if each['image_id'] == number]
        assert len(own) == len(expected) > 0
        for each, wanted in zip(own, expected, strict=True):
            assert each['category_id'] == wanted['category_id'] in CATEGORIES
            np.testing.assert_allclose(each['bbox'], wanted['bbox'], atol=1e-3)
            assert each['score'] == pytest.approx(wanted['score'], rel=1e-4)
            assert each['segmentation']['size'] == [HEIGHT, WIDTH]
        assert record['image_id'] == number and len(record['objects']) == min(2, len(own))
        for each, wanted in zip(record['objects'], own, strict=False):
            assert each['class'] == dict(zip(CATEGORIES, ('dog', 'cat', 'bird'), strict=True))[wanted['category_id']]
            assert each['box'] == wanted['bbox'] and each['score'] == wanted['score']
        assert Image.open(record['overlay']).size == (WIDTH, HEIGHT)
    truth = COCO()
    truth.dataset = content('val')
    truth.createIndex()
    assert len(truth.loadRes(str(out / 'results.json')).anns) == len(results)


def test_what_is_drawn_and_printed(instances_run, folder, tmp_path, command, monkeypatch):
    monkeypatch.setattr(predict_instances, 'LEAST_SCORE', 0.0)
    image = folder / 'val2017' / '0005.png'
    _, said = command('predict', image, '--run', instances_run, '--output', tmp_path / 'out', '--top', 1)
    first, line = said.splitlines()
    (best, *_) = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert first == f'{image}: {tmp_path / "out" / "0005_objects.png"}'
    assert line.startswith(f'{100 * best["score"]:8.2f} %  ')
    assert line.endswith('  ' + ' '.join(f'{side:.1f}' for side in best['bbox']))
    drawn = np.asarray(Image.open(tmp_path / 'out' / '0005_objects.png'))
    assert (drawn != pixels('val', 5)).any()


def test_mistakes_are_named(instances_run, folder, tmp_path, command):
    image = folder / 'val2017' / '0009.png'
    with pytest.raises(ValueError, match=r'--output DIR is needed with a run of instances:'):
        command('predict', image, '--run', instances_run)
    with pytest.raises(ValueError, match=r'images must have different names for --output, got .*0009.png and .*0009'):
        command('predict', image, folder / 'train2017' / '0009.png', '--run', instances_run, '--output', tmp_path)


def test_images_whose_names_are_no_numbers_are_counted(tmp_path):
    assert predict_instances.image_ids([tmp_path / 'b.png', tmp_path / '2.png']) == [1, 2]
    assert predict_instances.image_ids([tmp_path / '7.png', tmp_path / '007.jpg']) == [1, 2]
