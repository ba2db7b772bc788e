"""The task of salient objects: batches, loss, figures, a whole tiny run, its picture, and a step on eight devices."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from PIL import Image

from flax_dynconv import cli
from flax_dynconv.commands import predict
from flax_dynconv.commands.predict_saliency import write_maps
from flax_dynconv.models import MODELS, HDFNet, ResNet, hdfnet
from flax_dynconv.training import experiment, run_folder, saliency_picture
from flax_dynconv.training.interruption import Interrupted
from flax_dynconv.training.recipes import RECIPES
from flax_dynconv.training.saliency.loss import saliency_loss
from flax_dynconv.training.saliency.predictions import judged, quantised, resized
from flax_dynconv.training.saliency.scores import SaliencyScores
from flax_dynconv.training.salient_objects import Judged
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.sharding import collectives
from flax_dynconv.training.task import Trained
from flax_dynconv.training.tasks import create_task, networks
from tests.tolerances import assert_close
from tests.training import parallel
from tests.training.data.images import write_folder
from tests.training.data.scene_files import COUNTS, arrays, files
from tests.training.data.test_passes import joined, same

SETTINGS = Settings(task='saliency', epochs=2, seed=1, twin=False).updated(
    model='hdfnet_tiny',
    arguments='{"channels": 4, "dilations": [1]}',
    data='scenes',
    image_size=16,
    batch_size=8,
    evaluation_batch_size=4,
    train_examples=32,
    test_examples=6,
    learning_rate=0.05,
    warmup_epochs=0.0,
    temperature=1.0,
    reader_threads=1,
)
# Long enough to learn what depth is for, in seconds.
RUN = dataclasses.replace(SETTINGS, epochs=6).updated(train_examples=240, test_examples=60, evaluation_batch_size=30)
# Two maps, of which the coarser one makes filters: the smallest that does.
TINY = functools.partial(ResNet, stage_sizes=(1,), features=4, stem='imagenet')
FIGURES = {'loss', 'max_f', 'mean_f', 'adaptive_f', 'weighted_f', 'mae', 's_measure', 'e_measure'}


@pytest.fixture(scope='module', autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, 'tiny', TINY)
        yield


@functools.cache
def task(**changes):
    return create_task(SETTINGS.updated(**changes))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp('scenes'), files())


@pytest.fixture(params=['scenes', 'folder'])
def either(request, folder):
    augmented = {'flip': 0.5, 'rotation': 10.0, 'color_jitter': 0.1, 'reader_threads': 2}
    return create_task(SETTINGS.updated(**augmented, data='scenes' if request.param == 'scenes' else str(folder)))


def test_a_training_batch_has_the_shapes_and_dtypes_of_the_task(either):
    batches = list(either.batches('train', 3))
    assert len(batches) == either.steps_per_epoch(3) == either.source.size('train') // 3
    assert {name: (array.shape, array.dtype.name) for name, array in batches[0].items()} == {
        'image': ((3, 16, 16, 3), 'uint8'),
        'depth': ((3, 16, 16, 1), 'float32'),
        'target': ((3, 16, 16, 1), 'uint8'),
        'mask': ((3,), 'float32'),
    }
    assert {name: (array.shape[1:], array.dtype) for name, array in either.example().items()} == {
        name: (array.shape[1:], array.dtype) for name, array in batches[0].items()
    }


def test_hosts_together_read_what_one_reads(either):
    rows = np.arange(4).reshape(2, 2)
    same(either.batches('train', 4, seed=3, epoch=2), joined([either.batches('train', 4, 3, 2, rows=r) for r in rows]))
    same(either.batches('test', 4), joined([either.batches('test', 4, rows=part) for part in rows]))


@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_start_gives_the_tail_of_the_pass(split, either):
    whole = list(either.batches(split, 2, seed=1, epoch=1))
    assert len(whole) > 1
    same(whole[1:], either.batches(split, 2, seed=1, epoch=1, start=1))


@pytest.mark.parametrize('batch_size', [1, 2, 3, 4])
def test_every_test_image_has_its_truth_at_its_own_size_once(batch_size, folder):
    batches = list(task(data=str(folder)).batches('test', batch_size))
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    assert whole['truth'].shape[1:] == (14, 14)
    assert whole['mask'].tolist() == [1.0] * 3 + [0.0] * (len(whole['mask']) - 3)
    for number in range(COUNTS['test']):
        _, _, mask = arrays('test', number)
        height, width = whole['size'][number]
        assert (height, width) == mask.shape
        np.testing.assert_array_equal(whole['truth'][number, :height, :width], mask > 0)
        assert whole['truth'][number].sum() == (mask > 0).sum()
    assert not whole['truth'][3:].any()


def test_training_and_tests_with_the_depth_of_others(folder):
    """Of other sizes, of 8 and of 16 bits: image and mask stay, the depth is that of another one, scaled twice."""
    own, other = (task(data=str(folder), depth_from=kind) for kind in ('own', 'other'))
    for split, count in COUNTS.items():
        (mine,), (theirs,) = (list(each.batches(split, count)) for each in (own, other))
        assert {name: (a.shape, a.dtype) for name, a in mine.items()} == {
            name: (a.shape, a.dtype) for name, a in theirs.items()
        }
        for name in mine.keys() - {'depth'}:
            np.testing.assert_array_equal(mine[name], theirs[name])
        taken = [
            min(range(count), key=lambda k, depth=depth: np.abs(depth - mine['depth'][k]).mean())
            for depth in theirs['depth']
        ]
        assert sorted(taken) == list(range(count)) and all(k != row for row, k in enumerate(taken))
        assert theirs['depth'].min() >= 0 and 0.5 < theirs['depth'].max() <= 1


def logits(seed=0):
    return 3 * np.random.default_rng(seed).standard_normal((4, 16, 16, 1)).astype(np.float32)


def batch(**changes):
    """Four test images, the last of which does not count."""
    return next(task(**changes).batches('test', 4)) | {'mask': np.array([1, 1, 1, 0], np.float32)}


@pytest.mark.parametrize('weight', [1.0, 0.25])
def test_the_loss_is_the_mean_over_the_images_that_count(weight):
    made, outputs = batch(), logits()
    expected = np.mean(saliency_loss(outputs, made['target'], weight, from_logits=True)[:3])
    assert_close(task(enhanced_weight=weight).loss(outputs, made), expected)
    outputs[3] = np.nan
    assert_close(task(enhanced_weight=weight).loss(outputs, made), expected)


def test_figures_are_those_of_images_at_their_own_sizes(folder):
    """In training the loss alone; in an evaluation all of them, of whole images, one after the other."""
    of, made, outputs = task(data=str(folder)), batch(data=str(folder)), logits()
    sums = jax.tree.map(np.asarray, of.metrics(outputs, made))
    assert set(sums) == {'loss', 'count'}
    loss = pytest.approx(float(np.mean(saliency_loss(outputs, made['target'], from_logits=True)[:3])), rel=1e-6)
    assert of.summary(sums) == {'loss': loss}
    scores = SaliencyScores()
    for number in range(3):
        _, _, mask = arrays('test', number)
        probabilities = np.asarray(jax.nn.sigmoid(outputs[number, ..., 0]))
        scores.add(judged(probabilities, mask.shape), mask > 0)
    measured = of.measured(jax.tree.map(np.asarray, of.metrics(Judged(outputs), made)))
    assert of.summary(measured) == scores.summary() | {'loss': loss}
    assert set(of.summary(measured)) == FIGURES


def test_inputs_are_colours_that_are_normalised_and_depth_that_is_not():
    made = {'image': np.array([[[[0, 128, 255]]]], np.uint8), 'depth': np.full((1, 1, 1, 1), 0.25, np.float32)}
    image, depth = task().inputs(made)
    assert_close(image, (made['image'] / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225]))
    assert image.dtype == jnp.float32
    np.testing.assert_array_equal(depth, made['depth'])


class Interruption:
    """Asks to end after some looks."""

    looks = 0

    @property
    def requested(self):
        self.looks += 1
        return 'SIGTERM' if self.looks > 2 else None


@pytest.fixture(scope='module')
def run(compiled_fast, tmp_path_factory):
    """A run that was interrupted within its first epoch and went on."""
    folder = tmp_path_factory.mktemp('run') / 'saliency'
    folder.mkdir()
    with pytest.raises(Interrupted):
        experiment.run(RUN, folder, interruption=Interruption())
    (step,) = [int(path.name) for path in (folder / run_folder.CHECKPOINTS / 'dynamic').iterdir()]
    assert 0 < step < 30
    experiment.run(RUN, folder)
    return folder


def test_a_run_is_evaluated_to_the_bit(run, capsys):
    results = run_folder.read_results(run)
    assert (results['task'], results['score'], results['classes']) == ('scenes', 'mean_f', [])
    history = results['dynamic']['history']
    assert len(history) == 6 and history[-1]['train']['loss'] < history[0]['train']['loss']
    assert set(history[0]['train']) == {'loss'} and set(history[-1]['test']) == FIGURES
    assert cli.main(['evaluate', str(run)]) == 0
    said = capsys.readouterr().out
    assert '(as recorded)' in said and 'test mean_f ' in said and 'test s_measure ' in said


@pytest.mark.parametrize('kind', ['other', 'flat'])
def test_a_network_that_has_learned_needs_its_own_depth(kind, run, capsys):
    """As the command tells: without it mean F falls, which was .64, to .39 and .43, and the errors grow."""
    assert cli.main(['evaluate', str(run), '--depth-from', kind, '--json']) == 0
    (figures,) = json.loads(capsys.readouterr().out).values()
    own, without = run_folder.read_results(run)['dynamic']['history'][-1]['test'], figures['reloaded']
    assert figures['recorded'] is None and set(without) == FIGURES
    assert own['mean_f'] > 0.55 and without['mean_f'] < own['mean_f'] - 0.1
    assert without['mae'] > own['mae'] + 0.03 and without['loss'] > own['loss']


@pytest.fixture(scope='module')
def subject(run):
    """Model, variables and task of the run."""
    return predict.of_run(run)


@pytest.mark.parametrize('where', ['file', 'folder'])
def test_predict_writes_maps_of_the_size_of_their_images(where, run, subject, folder, capsys, tmp_path):
    images = [folder / 'test' / 'RGB' / f'im{number}.png' for number in range(2 if where == 'folder' else 1)]
    depth = folder / 'test' / 'depth' / ('im0.png' if where == 'file' else '')
    flags = ['--run', str(run), '--depth', str(depth), '--output', str(tmp_path), '--json']
    assert cli.main(['predict', *map(str, images), *flags]) == 0
    predicted = jax.jit(lambda v, batch: subject.task.predict(subject.model, v, batch).logits)
    told = json.loads(capsys.readouterr().out)
    assert [written['image'] for written in told] == [str(image) for image in images]
    for number, written in enumerate(told):
        pixels, behind, mask = arrays('test', number)
        behind = Image.fromarray((behind / (65535 if number == 0 else 255)).astype(np.float32))
        made = subject.task.evaluation_transform(Image.fromarray(pixels), behind, mask > 0)
        logits = predicted(subject.variables, {name: a[None] for name, a in made.items()})
        expected = resized(quantised(jax.nn.sigmoid(logits)[0, ..., 0]), mask.shape)
        found = np.asarray(Image.open(tmp_path / f'im{number}.png'))
        assert (found.shape, found.dtype.name) == (mask.shape, 'uint8')
        assert np.abs(found.astype(int) - expected).max() <= 1
        assert written['map'] == str(tmp_path / f'im{number}.png')
        assert written['share'] == pytest.approx((found > 127).mean())


@pytest.mark.parametrize('missing', ['--depth PATH', '--output DIR'])
def test_predict_needs_depth_and_a_folder(missing, run, folder, capsys, tmp_path):
    image, depth = folder / 'test' / 'RGB' / 'im0.png', folder / 'test' / 'depth'
    flags = ['--output', str(tmp_path)] if 'depth' in missing else ['--depth', str(depth)]
    assert cli.main(['predict', '--run', str(run), str(image), *flags]) == 2
    assert f'{missing} is needed with a run of saliency' in capsys.readouterr().err


@pytest.mark.parametrize('command', ['evaluate', 'predict'])
def test_inputs_are_scaled_in_one_way(command, run, folder, capsys, tmp_path):
    """To a square, bilinearly: a shorter side and another filter are refused."""
    image, depth = folder / 'test' / 'RGB' / 'im0.png', folder / 'test' / 'depth'
    predicted = [str(image), '--depth', str(depth), '--output', str(tmp_path), '--run', str(run)]
    flags = [str(run)] if command == 'evaluate' else predicted
    assert cli.main([command, *flags, '--resize', '20', '--interpolation', 'bicubic']) == 2
    assert "saliency has no use for, got resize=20, interpolation='bicubic'" in capsys.readouterr().err


def test_mistakes_of_predict_are_named(subject, folder, tmp_path):
    image, depth = folder / 'test' / 'RGB' / 'im0.png', folder / 'test' / 'depth'
    for images, behind, output, message in (
        ([image], depth / 'im1.png', tmp_path, r'im1.png must have the size of its image .*im0.png, 10 x 12 pixels'),
        ([image], tmp_path, tmp_path, r'--depth: there is no depth in .* for .*im0.png'),
        ([image], 'nowhere', tmp_path, r'--depth: there is no file or folder nowhere'),
        ([image, image], depth / 'im0.png', tmp_path, r'must be a folder with the depth of all 2 images, got the file'),
        ([image], depth, image.parent, r'im0.png is an image itself and would be overwritten'),
        ([image], depth, depth, r'im0.png is an image itself and would be overwritten'),
        ([image, image], depth, tmp_path, r'images must have different names for --output, got .*im0.png and'),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            list(write_maps(subject, images, behind, output))


def test_the_picture_has_curves_images_and_kernels(run):
    image = matplotlib.image.imread(run / run_folder.PICTURE)
    assert image.shape[0] > 1500 and image.shape[1] > 900
    assert len(np.unique(image[::5, ::5].reshape(-1, image.shape[-1]), axis=0)) > 50


def test_what_the_picture_shows(subject):
    """The first test images with their predictions, and kernels."""
    trained = Trained('hdfnet_tiny', subject.model, subject.variables, ())
    found, predicted, kernels = saliency_picture.examples(task(), trained, batch_size=4)
    for index in range(6):
        image, _, mask, _ = task().source.example('test', index, None)
        np.testing.assert_array_equal(found['image'][index], image)
        np.testing.assert_array_equal(found['target'][index, ..., 0], mask)
    assert predicted.shape == (6, 16, 16, 1) and predicted.min() >= 0 and predicted.max() <= 1
    assert {name: k.shape for name, k in kernels.items()} == {'selfdc_1/branch_1': (6, 4, 4, 3, 3, 1)}


def test_kernels_of_the_finest_level_are_shown():
    kernels = {'a/1': np.zeros((1, 2, 2, 3, 3, 1)), 'b/1': np.zeros((1, 4, 4, 3, 3, 1))}
    assert list(saliency_picture.finest(kernels)) == ['b/1'] and saliency_picture.finest({}) == {}


def test_positions_are_within_the_object_and_on_the_ground():
    target = np.zeros((20, 20), np.uint8)
    target[4:13, 8:17] = 1
    first, second, third, fourth = saliency_picture.positions(target)
    assert first == (8, 12) and target[second] == 1 and target[third] == target[fourth] == 0
    assert saliency_picture.positions(np.zeros((4, 4)), 4) == [(0, 0), (3, 3)]
    assert len(saliency_picture.positions(np.ones((320, 320)), 4)) == 2


def test_a_step_on_eight_devices_is_that_on_one_and_gathers_nothing():
    model = hdfnet('tiny', channels=4, dilations=(1,))
    where = {n: parallel.placement(model, 'replicate', devices=n, of=task()) for n in (1, 8)}
    found = collectives(parallel.compiled(model, where[8], task(), size=8)[0])
    assert {c.kind for c in found} == {'all-reduce'}
    (one, one_metrics, _), (eight, metrics, _) = (
        parallel.run(model, where[n], count=1, of=task(), size=8) for n in (1, 8)
    )
    jax.tree.map(assert_close, eight.params, one.params)
    assert metrics['count'] == 8
    assert_close(metrics['loss'], one_metrics['loss'])


def test_networks():
    assert networks(SETTINGS) == {'dynamic': 'hdfnet_tiny'}
    network = experiment.build('hdfnet_odconv_resnet18_4x', 1, SETTINGS.updated(num_kernels=2, remat=True, width=0.25))
    assert isinstance(network, HDFNet) and network.remat and network.channels == 4
    assert network.encoder.conv.keywords['num_kernels'] == 2 and network.depth_encoder.width == 0.25


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'arguments': '{"filters": 3}'}, r'arguments must fit hdfnet_tiny, got width=1.0, dtype=None, filters=3: '),
        ({'arguments': '{"probabilities": true}'}, r'arguments must not have probabilities: .* logits'),
        ({'model': 'resnet8'}, r"model of the task saliency must be one of hdfnet_vgg16, .* hdfnet_NAME .*'resnet8'"),
        ({'model': 'hdfnet_resnet9'}, r"of an encoder, a network of create_model, got 'hdfnet_resnet9'"),
    ],
)
def test_networks_that_do_not_fit(changes, message):
    settings = SETTINGS.updated(**changes)
    with pytest.raises(ValueError, match=message):
        experiment.build(settings.network.model, 1, settings)


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        ({'data': 'nowhere'}, FileNotFoundError, r'data: there is no folder nowhere; expected scenes, or a folder'),
        (
            {'crop': 'padded', 'mixup': 0.2},
            ValueError,
            r"saliency has no use for, got crop='padded', mixup=0.2",
        ),
        ({'resize': 20, 'dropout': 0.5}, ValueError, r'has no use for, got dropout=0.5, resize=20'),
        ({'crop_size': (8, 8)}, ValueError, r'has no use for, got crop_size=\(8, 8\)'),
        ({'depth_from': 'other', 'test_examples': 1}, ValueError, r"'other' needs at least two test images, got 1"),
    ],
)
def test_settings_that_do_not_fit(changes, error, message):
    with pytest.raises(error, match=message):
        create_task(SETTINGS.updated(**changes))


def test_other_tasks_refuse_what_only_this_one_knows():
    with pytest.raises(ValueError, match=r'the task classify has no use for, got rotation=10.0, depth_from=.flat.'):
        create_task(Settings().updated(rotation=10.0, depth_from='flat'))
    with pytest.raises(ValueError, match=r'batch_size must be at most the 32 training images, got 33'):
        task().steps_per_epoch(33)


@pytest.mark.slow
def test_the_quick_run_reaches_its_mark_and_needs_its_depth(tmp_path, capsys):
    """The commands of the page, in minutes."""
    assert cli.main(['train', '--task', 'saliency', '--run-dir', str(tmp_path / 'run')]) == 0
    results = run_folder.read_results(tmp_path / 'run')
    assert results['settings'] == json.loads(json.dumps(RECIPES['saliency'].settings.flat()))
    assert results['dynamic']['test_mean_f'] > 0.9 and results['dynamic']['test_adaptive_f'] > 0.9
    figures = {}
    for kind in ('own', 'other', 'flat'):
        capsys.readouterr()
        assert cli.main(['evaluate', str(tmp_path / 'run'), '--depth-from', kind, '--json']) == 0
        figures[kind] = json.loads(capsys.readouterr().out)['dynamic']['reloaded']['mean_f']
    assert figures['own'] == results['dynamic']['test_mean_f']
    assert figures['other'] < 0.6 and figures['flat'] < 0.75
