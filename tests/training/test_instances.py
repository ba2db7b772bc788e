"""The task of instances: loss and figures of a batch, a whole tiny run, its picture, and a step on eight devices."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from flax_dynconv import cli
from flax_dynconv.models import Detections, InstanceMaps
from flax_dynconv.training import experiment, instance_picture, run_folder
from flax_dynconv.training.data.instance_shapes import CLASSES
from flax_dynconv.training.instance_segmentation import Predicted
from flax_dynconv.training.instances.losses import instance_losses
from flax_dynconv.training.progress import joined
from flax_dynconv.training.recipes import RECIPES
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.sharding import collectives
from flax_dynconv.training.tasks import create_task, networks
from tests.tolerances import assert_close
from tests.training import parallel

SETTINGS = Settings(task='instances', epochs=1, seed=1, twin=False).updated(
    model='condinst_resnet8',
    width=0.25,
    arguments='{"channels": 32, "tower_convs": 1, "branch_channels": 8, "branch_convs": 1}',
    data='shapes',
    image_size=32,
    batch_size=8,
    evaluation_batch_size=4,
    train_examples=16,
    test_examples=6,
    max_instances=4,
    max_positives=4,
    detections=5,
    score_threshold=0.0,
    learning_rate=0.01,
    warmup_epochs=0.0,
    temperature=1.0,
    reader_threads=1,
)


@functools.cache
def task(**changes):
    return create_task(SETTINGS.updated(**changes))


@functools.cache
def model():
    return experiment.build('condinst_resnet8', len(CLASSES), SETTINGS)


def maps(batch=4, seed=0, semantic=None, size=32):
    """Noise of the shapes that the network gives for images of size x size pixels."""
    generator = np.random.default_rng(seed)
    channels = (len(CLASSES), 4, 1, model().num_parameters)
    levels = [
        tuple(
            jnp.asarray(generator.uniform(0.0, 1.0, (batch, size // s, size // s, c)), jnp.float32) for s in (8, 16, 32)
        )
        for c in channels
    ]
    features = jnp.asarray(generator.standard_normal((batch, size // 8, size // 8, 8)), jnp.float32)
    return InstanceMaps(*levels, features, semantic)


@functools.cache
def metrics(own):
    return jax.jit(own.metrics, compiler_options=parallel.QUICK)


def perfect(batch):
    """What a network would say that finds every object, its mask a quarter of the canvas fine: `Predicted`."""
    valid, slots = batch['valid'], batch['valid'].shape[1]
    logits = 20.0 * batch['masks'].astype(np.float32) - 10
    found = Detections(
        batch['boxes'], np.where(valid, 0.9, 0).astype(np.float32), batch['classes'], valid, *(None,) * 3
    )
    assert logits.shape[:2] == (len(valid), slots)
    return Predicted(maps(len(valid), size=4 * logits.shape[-1]), found, logits)


def test_the_loss_is_the_sum_of_its_parts():
    made, outputs = next(task().batches('test', 4)), maps()
    parts = jax.jit(
        functools.partial(
            instance_losses,
            strides=(8, 16, 32),
            sizes_of_interest=(32, 64, 128),
            channels=(10, 8, 8, 1),
            max_positives=4,
        ),
        compiler_options=parallel.QUICK,
    )(outputs, made)
    assert set(parts) == {'classification', 'box', 'centerness', 'mask'}
    assert all(float(part) > 0 for part in parts.values())
    loss = jax.jit(task().loss, compiler_options=parallel.QUICK)(outputs, made)
    assert_close(loss, sum(float(part) for part in parts.values()))


def test_the_weight_of_likeness_grows_with_the_steps():
    own = task(mask_loss='boxinst', pairwise_warmup=10)
    made = next(task().batches('train', 8))
    outputs = maps(8)
    at = {step: metrics(own)(outputs, made | {'step': np.full(8, step)}) for step in (0, 4, 9, 50)}
    pairwise = {step: float(sums['pairwise_loss']) for step, sums in at.items()}
    assert pairwise[50] > 0
    assert pairwise[0] == pytest.approx(0.1 * pairwise[50]) and pairwise[4] == pytest.approx(0.5 * pairwise[50])
    assert pairwise[9] == pairwise[50]
    assert {float(sums['projection_loss']) for sums in at.values()} == {float(at[0]['projection_loss'])}


def test_the_last_rows_of_an_image_are_not_compared():
    """Ten of them, unless the settings say otherwise; nothing but the likeness of colours changes."""
    function, sums = metrics(task(mask_loss='boxinst', pairwise_warmup=10)), {}
    for rows in (0, 10):
        made = next(task(bottom_rows=rows).batches('train', 8))
        assert made['bottom'].tolist() == [rows] * 8
        sums[rows] = function(maps(8), made)
    assert next(task().batches('test', 4))['bottom'].tolist() == [10] * 4
    changed = {name for name in sums[0] if not np.array_equal(sums[0][name], sums[10][name])}
    assert changed == {'pairwise_loss', 'loss'}


def test_semantic_losses_are_weighted():
    logits = jnp.asarray(np.random.default_rng(2).standard_normal((4, 4, 4, len(CLASSES))), jnp.float32)
    made, outputs = next(task().batches('test', 4)), maps(semantic=logits)
    once, thrice = (metrics(task(semantic_weight=w))(outputs, made)['semantic_loss'] for w in (1.0, 3.0))
    assert float(once) > 0
    assert_close(thrice, 3 * float(once))


def test_steps_are_counted_through_the_epochs():
    def steps(**where):
        return [int(batch['step'][0]) for batch in task().batches('train', 8, **where)]

    assert steps() == [0, 1] and steps(epoch=3) == [6, 7] and steps(epoch=3, start=1) == [7]


def test_tests_have_the_whole_weight_of_likeness():
    """In every epoch, so that their losses can be compared."""
    own = task(mask_loss='boxinst', pairwise_warmup=10)
    made = next(task(pairwise_warmup=10).batches('test', 8))
    sums = [float(metrics(own)(maps(8), made | change)['pairwise_loss']) for change in ({}, {'step': np.full(8, 99)})]
    assert sums[0] == sums[1] > 0


def test_perfect_masks_have_a_perfect_figure():
    own, totals = task(max_instances=8, image_size=128), None
    for batch in own.batches('test', 4):
        values = jax.tree.map(np.asarray, metrics(own)(perfect(batch), batch))
        totals = joined(totals, own.measured(values))
    assert totals['images'] == list(range(6)) and totals['count'] == 6
    summary = own.summary(totals)
    assert summary['box_ap'] == pytest.approx(1)
    # Masks of a quarter of the resolution lose corners, and half of the smallest objects.
    assert summary['mask_ap50'] > 0.9 and 0.5 < summary['mask_ap'] < 1
    assert summary['loss'] == pytest.approx(sum(summary[f'{part}_loss'] for part in PARTS))
    # The wrong classes find nothing.
    wrong = [each | {'category_id': each['category_id'] % 4 + 1} for each in totals['results']]
    assert own.summary(totals | {'results': wrong})['mask_ap'] < 0.1


PARTS = ('classification', 'box', 'centerness', 'mask')


def test_images_that_were_not_measured_do_not_count():
    own = task(max_instances=8)
    batch = next(own.batches('test', 4))
    values = jax.tree.map(np.asarray, metrics(own)(perfect(batch), batch))
    totals = own.measured(values | {'real': np.array([1, 0, 1, 0], np.float32)})
    assert totals['images'] == [0, 2] and {each['image_id'] for each in totals['results']} == {0, 2}
    # Those of the other images are not missed.
    assert own.summary(totals)['box_ap'] == pytest.approx(1)


@pytest.fixture(scope='module')
def run(compiled_fast, tmp_path_factory):
    folder = tmp_path_factory.mktemp('run') / 'instances'
    folder.mkdir()
    experiment.run(SETTINGS, folder)
    return folder


def test_a_run_is_evaluated_to_the_bit(run, capsys):
    results = run_folder.read_results(run)
    assert results['classes'] == list(CLASSES) and results['category_ids'] == [1, 2, 3, 4]
    assert results['dynamic']['model'] == 'condinst_resnet8'
    (record,) = results['dynamic']['history']
    assert set(record['train']) == {'loss', *(f'{part}_loss' for part in PARTS)}
    assert {'mask_ap', 'mask_ap50', 'mask_ap75', 'box_ap', 'box_ap50'} < set(record['test'])
    assert cli.main(['evaluate', str(run)]) == 0
    said = capsys.readouterr().out
    assert '(as recorded)' in said and 'test loss ' in said and 'mask_ap50 ' in said


def test_the_picture_has_curves_and_rows(run):
    image = matplotlib.image.imread(run / run_folder.PICTURE)
    assert image.shape[0] > 800 and image.shape[1] > 900
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 200


def test_objects_are_drawn_in_their_colours():
    image = np.zeros((4, 4, 3), np.uint8)
    masks = [np.eye(4, dtype=bool), np.ones((4, 4), bool)]
    found = instance_picture.overlaid(image, masks, np.array([[200, 0, 0], [0, 100, 0]]))
    assert found[0, 0].tolist() == [50, 50, 0] and found[0, 1].tolist() == [0, 50, 0]


def test_what_is_drawn_is_what_is_there():
    own = task(max_instances=8)
    batch = next(own.batches('test', 4))
    predicted = perfect(batch)
    for row in range(4):
        true = own.true_objects(row, (32, 32))
        found = own.found(predicted.detections, predicted.masks, row, (32, 32), 0.5)
        assert len(true) == batch['valid'][row].sum() == len(found)
        order = np.argsort([each['label'] for each in true], kind='stable')
        for each, same in zip([true[i] for i in order], sorted(found, key=lambda each: each['label']), strict=True):
            assert each['label'] == same['label'] and each['score'] is None
            assert same['score'] == pytest.approx(0.9)
    assert own.found(predicted.detections, predicted.masks, 0, (32, 32), 0.95) == []


def test_a_step_on_eight_devices_is_that_on_one_and_gathers_nothing():
    where = {n: parallel.placement(model(), 'replicate', devices=n, of=task()) for n in (1, 8)}
    found = collectives(parallel.compiled(model(), where[8], task(), size=8)[0])
    assert {c.kind for c in found} == {'all-reduce'}
    (one, one_metrics, _), (eight, metrics, _) = (
        parallel.run(model(), where[n], count=1, of=task(), size=8) for n in (1, 8)
    )
    jax.tree.map(assert_close, eight.params, one.params)
    jax.tree.map(assert_close, metrics, one_metrics)


def test_there_is_no_twin():
    assert networks(dataclasses.replace(SETTINGS, twin=True)) == {'dynamic': 'condinst_resnet8'}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'arguments': '{"towers": 3}'}, r'arguments must fit condinst_resnet8, got .*towers=3'),
        ({'model': 'resnet8'}, r"model of the task instances must be one of condinst_resnet50, .*, got 'resnet8'"),
        ({'image_size': 40}, r'canvas must be a height and a width that 32 divides, got \(40, 40\)'),
        ({'canvas': (32, 64)}, r'canvas must be a square for drawn shapes, got \(32, 64\)'),
        ({'mixup': 0.2}, r'settings must leave as they are what the task instances has no use for, got mixup=0.2'),
        ({'data': 'nowhere'}, r'data: there is no folder nowhere; expected shapes, or a folder'),
    ],
)
def test_settings_that_do_not_fit(changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        create_task(SETTINGS.updated(**changes))


def test_a_batch_of_more_than_the_images_is_refused():
    with pytest.raises(ValueError, match=r'batch_size must be at most the 16 training images, got 17'):
        task().steps_per_epoch(17)


@pytest.mark.slow
def test_the_quick_run_reaches_its_mark(tmp_path):
    """The command of the page, in minutes."""
    assert cli.main(['train', '--task', 'instances', '--run-dir', str(tmp_path / 'run')]) == 0
    results = run_folder.read_results(tmp_path / 'run')
    assert results['settings'] == json.loads(json.dumps(RECIPES['instances'].settings.flat()))
    assert results['dynamic']['test_mask_ap50'] > 0.6
    assert cli.main(['evaluate', str(tmp_path / 'run')]) == 0
