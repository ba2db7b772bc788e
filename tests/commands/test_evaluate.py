"""evaluate: runs, checkpoints of them, weights, other data, and what is refused."""

import json
import shutil

import jax
import pytest

from flax_dynconv.commands import runs
from flax_dynconv.convert import save_variables
from flax_dynconv.training import experiment, report, run_folder
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.tasks import create_task
from tests.commands.conftest import BROKEN, BY_WEIGHTS, SETTINGS


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run, to be changed, of the static network only."""
    folder = shutil.copytree(run, tmp_path / 'copy')
    results = run_folder.read_results(folder)
    del results['dynamic']
    shutil.rmtree(folder / run_folder.CHECKPOINTS / 'dynamic')
    run_folder.write_results(folder, results)
    return folder


@pytest.fixture(scope='module')
def weights(run, tmp_path_factory):
    """The dynamic network's averages as Flax variables in a file."""
    found = runs.open_run(run)
    state = runs.restore(found, 'dynamic', create_task(found.settings), found.settings).state
    path = tmp_path_factory.mktemp('weights') / 'dynamic.safetensors'
    save_variables(path, jax.device_get(state.evaluated))
    return path


def test_a_run_gives_what_was_recorded(run, results, command):
    code, out = command('evaluate', run, '--json')
    figures = json.loads(out)
    assert code == 0
    assert list(figures) == ['dynamic', 'static']
    for role, figure in figures.items():
        assert figure['model'] == results[role]['model']
        assert figure['reloaded'] == figure['recorded'] == results[role]['history'][-1]['test']
        assert figure['reloaded']['accuracy'] == results[role]['test_accuracy']


def test_images_that_could_not_be_read_are_named_and_counted(results):
    assert set(results['bad_images']) == set(BROKEN)
    assert report.table(results).caption == 'training images that could not be read (names in results.json): 3'
    assert report.table(results | {'bad_images': {}}).caption is None


def test_images_that_could_not_be_read_are_remembered_by_a_run_that_goes_on(run, pictures, copy):
    """Both networks are trained to the end: nothing is read again, and the images are still in the results."""
    before = run_folder.read_results(run)['bad_images']
    lines = (run / run_folder.BAD_IMAGES).read_text()
    assert len(lines.splitlines()) == len(BROKEN)
    shutil.copytree(run / run_folder.CHECKPOINTS, copy / run_folder.CHECKPOINTS, dirs_exist_ok=True)
    (copy / run_folder.BAD_IMAGES).write_text(lines + '["half a li')
    again = experiment.run(SETTINGS.updated(data=str(pictures)), copy)
    assert again['bad_images'] == before
    assert set(before) == set(BROKEN)


def test_other_figures_than_recorded_are_exit_code_1(copy, command):
    results = run_folder.read_results(copy)
    results['static']['history'][-1]['test']['accuracy'] = 0.123
    run_folder.write_results(copy, results)
    code, out = command('evaluate', copy)
    assert code == 1
    assert out.startswith('static tiny: test loss ')
    assert 'recorded: {' in out


@pytest.mark.parametrize('which', ['best', '3', '6'])
def test_any_checkpoint(copy, which, command):
    history = run_folder.read_results(copy)['static']['history']
    best = max(history, key=lambda record: (record['test']['accuracy'], record['epoch']))
    record = {'best': best, '3': history[0], '6': history[1]}[which]
    code, out = command('evaluate', copy, '--checkpoint', which, '--json')
    assert code == 0
    assert json.loads(out)['static']['reloaded'] == record['test']
    assert json.loads(out)['static']['recorded'] == record['test']


def test_a_checkpoint_that_is_not_there(copy, command):
    with pytest.raises(FileNotFoundError, match=r"'newest', 'best' or one of the steps \[3, 6\], got 4"):
        command('evaluate', copy, '--checkpoint', '4')
    shutil.rmtree(copy / run_folder.CHECKPOINTS)
    with pytest.raises(FileNotFoundError, match='there is no checkpoint at'):
        command('evaluate', copy)


def test_an_unfinished_run_tells_from_its_checkpoint(copy, command):
    settings = run_folder.read_results(copy)['settings']
    test = run_folder.read_results(copy)['static']['history'][-1]['test']
    (copy / run_folder.RESULTS).unlink()
    run_folder.write_config(copy, {'settings': settings})
    code, out = command('evaluate', copy)
    assert code == 0
    assert out == f'static tiny: test loss {test["loss"]:.6g}, test accuracy {test["accuracy"]:.6g} (as recorded)\n'
    shutil.rmtree(copy / run_folder.CHECKPOINTS)
    with pytest.raises(ValueError, match=r'config.json is of a run without checkpoints'):
        command('evaluate', copy)


def test_weights_give_the_figures_of_their_run(weights, pictures, results, command):
    code, out = command('evaluate', *BY_WEIGHTS, '--weights', weights, '--data', pictures, '--json')
    assert code == 0
    figure = json.loads(out)['weights']
    assert figure['model'] == 'odconv_tiny_2x'
    assert figure['recorded'] is None
    assert figure['reloaded'] == pytest.approx(results['dynamic']['history'][-1]['test'], rel=1e-5)


def test_other_data_of_the_same_classes(copy, pictures, tmp_path, command):
    archive = shutil.make_archive(tmp_path / 'pictures', 'zip', pictures)
    code, out = command('evaluate', copy, '--data', archive, '--batch-size', '3', '--json')
    figure = json.loads(out)['static']
    assert code == 0
    assert figure['recorded'] is None
    # Another size of the batches, so other rounding.
    assert figure['reloaded'] == pytest.approx(run_folder.read_results(copy)['static']['history'][-1]['test'], rel=1e-5)


def test_data_of_other_classes_are_refused(copy, pictures, tmp_path, command):
    other = shutil.copytree(pictures, tmp_path / 'other')
    for split in ('train', 'val'):
        (other / split / 'red').rename(other / split / 'yellow')
    with pytest.raises(ValueError, match=r"only in the data: \['yellow'\], only in the run: \['red'\]"):
        command('evaluate', copy, '--data', other)


def test_weights_and_data_of_other_numbers_of_classes(weights, pictures, tmp_path, command):
    other = shutil.copytree(pictures, tmp_path / 'other')
    for split in ('train', 'val'):
        shutil.rmtree(other / split / 'red')
    with pytest.raises(ValueError, match=r'is for 3 classes, .* has 2; the classes must be the same'):
        command('evaluate', *BY_WEIGHTS, '--weights', weights, '--data', other)


def test_a_folder_without_a_run(run, tmp_path, command):
    with pytest.raises(FileNotFoundError, match=r'holds no finished run: there is no results.json in it'):
        command('evaluate', tmp_path)
    run_folder.write_results(tmp_path, {'task': 'digits'})
    with pytest.raises(ValueError, match=r'results.json was not written by a training run'):
        command('evaluate', tmp_path)
    run_folder.write_results(tmp_path, {'settings': Settings().flat()})
    with pytest.raises(ValueError, match='was not written by a training run: it names no network'):
        command('evaluate', tmp_path)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'expected the folder of a run, or --model NAME and --weights FILE'),
        (['--weights', 'x.npz'], 'expected the folder of a run, or --model NAME and --weights FILE'),
        (['folder', '--model', 'resnet8'], 'the folder has a network of its own, got --model too'),
        (['folder', '--dtype', 'bfloat16'], 'the folder has a network of its own, got --dtype too'),
        (
            ['--model', 'resnet8', '--weights', 'x.npz', '--checkpoint', 'best'],
            '--checkpoint is for the folder of a run',
        ),
        (['--model', 'resnet8', '--weights', 'x.npz'], '--data is needed with --weights'),
        (['--model', 'resnet8', '--weights', 'x', '--data', 'digits', '--arguments', '{'], 'arguments must be JSON'),
        (
            ['--model', 'steerable_filter', '--weights', 'x', '--data', 'noise'],
            '--model with --weights must be a classifier of images, got steerable_filter: ',
        ),
        (
            ['--model', 'dmnet_resnet8', '--weights', 'x', '--data', 'shapes'],
            'must be a classifier .*, got dmnet_resnet8',
        ),
        (['--model', 'resnet8', '--weights', 'x', '--data', 'no/data'], 'there is no file or folder no/data'),
    ],
)
def test_arguments_that_do_not_fit(arguments, message, command):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        command('evaluate', *arguments)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--checkpoint', 'newer'], "expected newest, best or the number of a step, got 'newer'"),
        (['--batch-size', '0'], "expected an integer >= 1, got '0'"),
    ],
)
def test_arguments_that_argparse_refuses(arguments, message, command, capsys):
    with pytest.raises(SystemExit):
        command('evaluate', *arguments)
    assert message in capsys.readouterr().err


def test_fields_that_the_network_does_not_have(weights, pictures, command):
    arguments = ['--model', 'odconv_tiny_2x', '--arguments', '{"depth": 3}', '--weights', weights, '--data', pictures]
    with pytest.raises(ValueError, match=r'--arguments: .*depth'):
        command('evaluate', *arguments, '--image-size', '8')


@pytest.mark.parametrize(
    ('mesh', 'expected'),
    [
        (None, None),
        ((8, 1, 1), (8, 1, 1)),
        ((4, 2, 1), (4, 2, 1)),
        ((16, 1, 1), None),
        ((-1, 2, 1), (-1, 2, 1)),
        ((-1, 3, 1), None),
        ((1, 1, 1), None),
    ],
)
def test_settings_fit_the_devices(mesh, expected):
    assert jax.device_count() == 8
    here = runs.on_these_devices(SETTINGS.updated(mesh=mesh, batch_size=12, accumulate=3))
    assert here.parallel.mesh == expected
    assert here.images.batch_size == 8
    assert here.images.test_batch_size == 12
    assert here.optimization.accumulate == 1
