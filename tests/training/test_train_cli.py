"""The flags of `train`: every setting by name, recipes under them, mistakes in a line, resuming; and the command."""

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip('tyro', reason='it reads the command line')

from flax_dynconv import cli
from flax_dynconv.models import MODELS, ResNet
from flax_dynconv.training import run_folder, train_cli
from flax_dynconv.training.monitoring.observer import Watcher
from flax_dynconv.training.recipes import RECIPES
from flax_dynconv.training.settings import OWNERS, Settings
from flax_dynconv.training.train_arguments import CHANGEABLE, TrainArguments, parse

# One value other than the default of each setting, and the words that give it.
FLAGS = {
    'task': ('video', 'video'),
    'epochs': (3, '3'),
    'seed': (5, '5'),
    'twin': (False, None),
    'model': ('resnet8', 'resnet8'),
    'width': (0.5, '0.5'),
    'num_kernels': (2, '2'),
    'dropout': (0.25, '0.25'),
    'drop_path': (0.125, '0.125'),
    'dtype': ('bfloat16', 'bfloat16'),
    'remat': (True, None),
    'arguments': ('{"reduction": 0.5}', '{"reduction": 0.5}'),
    'data': ('a folder', 'a folder'),
    'batch_size': (64, '64'),
    'evaluation_batch_size': (10, '10'),
    'image_size': (32, '32'),
    'resize': (40, '40'),
    'interpolation': ('bicubic', 'bicubic'),
    'mean': ((0.5, 0.25, 0.125), '0.5 0.25 0.125'),
    'std': ((0.5, 0.25, 0.125), '0.5 0.25 0.125'),
    'reader_threads': (2, '2'),
    'reader_processes': (1, '1'),
    'crop': ('padded', 'padded'),
    'crop_scale': ((0.25, 0.5), '0.25 0.5'),
    'crop_ratio': ((0.5, 2.0), '0.5 2'),
    'crop_padding': (2, '2'),
    'flip': (0.5, '0.5'),
    'randaugment': (2, '2'),
    'randaugment_magnitude': (5.0, '5'),
    'randaugment_deviation': (0.25, '0.25'),
    'color_jitter': (0.5, '0.5'),
    'erasing': (0.5, '0.5'),
    'mixup': (0.25, '0.25'),
    'cutmix': (1.0, '1'),
    'mixing_probability': (0.5, '0.5'),
    'label_smoothing': (0.125, '0.125'),
    'ignore_label': (0, '0'),
    'reduce_zero_label': (True, None),
    'class_names': ('names.txt', 'names.txt'),
    'pixel_average': ('valid', 'valid'),
    'auxiliary_weight': (0.25, '0.25'),
    'scale_range': ((0.75, 1.25), '0.75 1.25'),
    'crop_size': ((32, 64), '32 64'),
    'crop_share': (0.5, '0.5'),
    'inference': ('slide', 'slide'),
    'window': ((32, 64), '32 64'),
    'window_stride': ((16, 32), '16 32'),
    'canvas': ((64, 96), '64 96'),
    'shorter_sides': ((32, 48), '32 48'),
    'longer_side': (100, '100'),
    'skip_empty': (True, None),
    'max_instances': (10, '10'),
    'max_positives': (10, '10'),
    'mask_loss': ('boxinst', 'boxinst'),
    'pairwise_warmup': (10, '10'),
    'bottom_rows': (3, '3'),
    'semantic_weight': (0.5, '0.5'),
    'score_threshold': (0.25, '0.25'),
    'nms_threshold': (0.5, '0.5'),
    'detections': (10, '10'),
    'enhanced_weight': (0.5, '0.5'),
    'rotation': (10.0, '10'),
    'depth_from': ('other', 'other'),
    'train_examples': (100, '100'),
    'test_examples': (10, '10'),
    'input_frames': (5, '5'),
    'output_frames': (5, '5'),
    'frame_loss': ('mse', 'mse'),
    'moving_digits': (1, '1'),
    'digit_step': (0.25, '0.25'),
    'optimizer': ('lamb', 'lamb'),
    'learning_rate': (1e-3, '1e-3'),
    'learning_rate_batch': (256, '256'),
    'momentum': (0.5, '0.5'),
    'nesterov': (True, None),
    'second_moment': (0.5, '0.5'),
    'epsilon': (1e-6, '1e-6'),
    'weight_decay': (0.0, '0'),
    'no_decay': (('norm', 'bias'), 'norm bias'),
    'clip_norm': (1.0, '1'),
    'accumulate': (2, '2'),
    'ema': (0.5, '0.5'),
    'schedule': ('exponential', 'exponential'),
    'warmup_epochs': (0.0, '0'),
    'milestones': ((3.0, 4.5), '3 4.5'),
    'gamma': (0.5, '0.5'),
    'decay_epochs': (1.5, '1.5'),
    'staircase': (True, None),
    'power': (2.0, '2'),
    'final_learning_rate': (0.01, '0.01'),
    'per_epoch': (True, None),
    'temperature': (10.0, '10'),
    'temperature_epochs': (2.0, '2'),
    'sharding': ('expert', 'expert'),
    'mesh': ((-1, 2, 1), '-1 2 1'),
    'batch_statistics': ('device', 'device'),
    'distributed': ('off', 'off'),
    'coordinator': ('host:1234', 'host:1234'),
    'num_processes': (2, '2'),
    'process_id': (1, '1'),
    'checkpoint_every': (100, '100'),
    'keep': (3, '3'),
    'nonfinite': ('skip', 'skip'),
    'log_every': (10, '10'),
    'tensorboard': (True, None),
}


def words(*names):
    """The command line that sets these fields to the values above."""
    line = []
    for name in names:
        value, text = FLAGS[name]
        flag = name.replace('_', '-')
        line.append(f'--{flag}' if value is not False else f'--no-{flag}')
        line += [text] if ' ' in (text or '') and isinstance(value, str) else (text or '').split()
    return line


def test_every_setting_is_a_flag_by_its_own_name():
    assert set(FLAGS) == set(Settings().flat())
    assert parse(words(*FLAGS)).settings.flat() == {name: value for name, (value, _) in FLAGS.items()}


def test_without_flags_the_defaults():
    assert parse([]) == TrainArguments()
    assert parse([]).settings == Settings()


@pytest.mark.parametrize('name', ['condconv-efficientnet-350ep', 'dyconv-cifar10-160ep'])
def test_flags_come_on_top_of_a_recipe_wherever_it_stands(name):
    expected = RECIPES[name].settings.updated(epochs=3, no_decay=())
    flags = ['--epochs', '3', '--no-decay']
    assert parse([*flags, '--recipe', name]).settings == parse([f'--recipe={name}', *flags]).settings == expected


def test_help_shows_every_flag_with_the_values_of_the_recipe(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(['train', '--recipe', 'condconv-efficientnet-350ep', '--help'])
    assert stopped.value.code == 0
    text = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    assert 'Paper: Yang, Bender' in text and 'AutoAugment is not implemented' in text
    assert 'passes over the training images (default: 350)' in text
    assert '(default: rmsprop)' in text
    for name in (*Settings().flat(), 'recipe', 'run_dir', 'overwrite', 'resume'):
        assert f'--{name.replace("_", "-")}' in text, name


MISTAKES = [
    (['--epochs', 'many'], "Error parsing --epochs: invalid literal for int() with base 10: 'many'"),
    (['--epochs', '0'], 'epochs must be a number >= 1, got 0'),
    (['--batch-size', '1'], 'batch_size must be a number >= 2, got 1'),
    (['--accumulate', '3'], 'accumulate must divide batch_size = 32, got 3'),
    (['--epoks', '3'], 'Unrecognized options: --epoks, 3; did you mean --epochs or --epsilon?'),
    (
        ['--task', 'letters'],
        "task must be one of classify, steerable, video, segment, instances, saliency, got 'letters'",
    ),
    (['--optimizer', 'adam'], "invalid choice 'adam' for argument '--optimizer'"),
    (['--learning-rate', 'nan'], 'learning_rate must be a number > 0, got nan'),
    (['--mesh', '1', '2'], 'input length 2 did not match expected argument count 3'),
    (['--epochs'], "Missing value for argument '--epochs'"),
    (['--recipe'], 'argument --recipe: expected one argument'),
    (
        ['--recipe', 'odconv-resnet'],
        "recipe must be a known one, got 'odconv-resnet'; did you mean odconv-resnet-100ep",
    ),
    (['--arguments', '{'], "arguments must be JSON, got '{'"),
    (['--resume'], '--resume needs --run-dir: which run?'),
    (['--resume', '--run-dir', 'x', '--recipe', 'digits'], '--resume takes the settings of the run'),
    (['--resume', '--run-dir', 'no such folder'], 'no such folder holds no run: there is no config.json in it'),
]


@pytest.mark.parametrize(('arguments', 'message'), MISTAKES)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert cli.main(['train', *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    (line,) = captured.err.strip().splitlines()
    assert line.startswith('flax-dynconv train: error: ')
    assert message in line


def test_mistakes_are_one_line_on_other_terminals():
    """Narrow ones, with colours, without UTF-8."""
    environment = {**os.environ, 'PYTHONIOENCODING': 'ascii', 'FORCE_COLOR': '1', 'COLUMNS': '40'}
    code = 'from flax_dynconv import cli; print(cli.main(["train", "--epochs", "0"]), cli.main(["train", "--epoks"]))'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=environment)
    assert run.stdout == '2 2\n'
    assert run.stderr.splitlines()[-2:] == [
        'flax-dynconv train: error: epochs must be a number >= 1, got 0',
        'flax-dynconv train: error: Unrecognized options: --epoks; did you mean --epochs or --epsilon?',
    ]


def test_without_tyro(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'tyro', None)
    assert cli.main(['train']) == 2
    assert (
        "tyro is not installed; it reads the command line and comes with the 'train' extra" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ('flags', 'unused'),
    [
        ('--task steerable --crop-size 3 3 --frame-loss mse --inference slide', "inference='slide'"),
        ('--task steerable --data {folder}/x.npy --train-examples 9', '--train-examples 9'),
        ('--task video --reduce-zero-label', 'reduce_zero_label=True'),
        ('--task video --data {folder}/x.npy --moving-digits 3', '--moving-digits 3'),
        ('--task segment --frame-loss mse', "frame_loss='mse'"),
        ('--task segment --class-names names.txt', '--class-names names.txt'),
        (
            '--task segment --data {folder} --train-examples 9 --test-examples 3',
            '--train-examples 9, --test-examples 3',
        ),
        ('--ignore-label 3 --train-examples 9', 'ignore_label=3, train_examples=9'),
        ('--data {folder} --frame-loss mse --model resnet8 --image-size 8', "frame_loss='mse'"),
    ],
)
def test_flags_that_do_nothing_are_named(flags, unused, tmp_path, capsys):
    flags = [word.format(folder=tmp_path) for word in flags.split()]
    assert cli.main(['train', *flags, '--run-dir', str(tmp_path / 'run')]) == 2
    said = capsys.readouterr().err
    assert 'a use for, got' in said or 'no use for, got' in said
    assert unused in said


def test_recipes_of_drawn_data_take_other_data():
    """Numbers of examples that the recipe has, and nobody has asked for, are no mistake."""
    assert parse(['--task', 'steerable', '--data', 'x.npy']).settings.drawn.train_examples == 6400
    assert parse(['--task', 'video', '--data', 'mnist', '--train-examples', '9']).settings.drawn.train_examples == 9
    assert parse(['--task', 'steerable', '--data', 'x.npy', '--test-examples', '9']).settings.drawn.test_examples == 9


def test_the_recipe_of_a_task_is_kept():
    assert parse(['--task', 'segment']).recipe == 'segment'
    assert parse(['--task', 'segment', '--full']).recipe == 'dmnet-cityscapes-r50-80k'
    assert parse(['--recipe', 'digits']).recipe == 'digits'
    assert parse(['--epochs', '3']).recipe == ''


@pytest.fixture
def stored(tmp_path):
    """A folder with the configuration of a run on several hosts."""
    settings = Settings().updated(epochs=7, mesh=(2, 1, 1), coordinator='h:1', num_processes=2, process_id=0)
    run_folder.write_config(tmp_path, {'settings': settings.flat()})
    return tmp_path, settings


def test_a_resumed_run_has_its_own_settings(stored):
    folder, settings = stored
    wanted = settings.updated(coordinator=None, num_processes=None, process_id=None)
    assert parse(['--resume', '--run-dir', str(folder)]).settings == wanted
    # The same value again changes nothing.
    assert parse(['--resume', f'--run-dir={folder}', '--epochs', '7']).settings == wanted
    changeable = words(*sorted(CHANGEABLE))
    given = parse(['--resume', '--run-dir', str(folder), *changeable]).settings
    assert given == wanted.updated(**{name: FLAGS[name][0] for name in CHANGEABLE})


def test_what_would_make_it_another_run_is_refused(stored):
    folder, _ = stored
    others = sorted(set(FLAGS) - CHANGEABLE)
    with pytest.raises(ValueError, match=r'goes on with the settings of the run, which this would change') as refused:
        parse(['--resume', '--run-dir', str(folder), *words(*others)])
    assert all(f'--{name.replace("_", "-")} {FLAGS[name][0]} (was ' in str(refused.value) for name in others)
    with pytest.raises(ValueError, match=r'change: --epochs 3 \(was 7\), --seed 5 \(was 0\)$'):
        parse(['--resume', '--run-dir', str(folder), *words('seed', 'epochs', 'keep')])


def test_a_configuration_from_before_a_setting_goes_on(stored):
    folder, settings = stored
    flat = {name: value for name, value in settings.flat().items() if OWNERS.get(name) not in ('segmentation', 'drawn')}
    run_folder.write_config(folder, {'settings': flat})
    found = parse(['--resume', '--run-dir', str(folder)]).settings
    assert (found.epochs, found.segmentation, found.drawn) == (7, Settings().segmentation, Settings().drawn)


def test_a_configuration_of_another_version_is_refused(tmp_path):
    run_folder.write_config(tmp_path, {'settings': {'epochs': 3, 'letters': 5}})
    with pytest.raises(ValueError, match=r"config.json holds no settings of this version: .*unknown names \['letters'"):
        parse(['--resume', '--run-dir', str(tmp_path)])


@dataclasses.dataclass
class Signals(Watcher):
    """Sends SIGTERM to this process after a step."""

    after: int

    def stepped(self, step, figures):
        if step == self.after:
            signal.raise_signal(signal.SIGTERM)


def test_a_run_that_is_ended_by_a_signal_is_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(MODELS, 'tiny', functools.partial(ResNet, stage_sizes=(1,), features=4, stem='cifar'))
    folder = str(tmp_path / 'run')
    flags = ['--model', 'tiny', '--epochs', '2', '--batch-size', '256', '--recipe', 'digits', '--run-dir', folder]
    monkeypatch.setattr(train_cli, 'watch', lambda *_: Signals(6))
    assert cli.main(['train', *flags]) == 143
    assert 'ended by SIGTERM after step' in capsys.readouterr().err
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert config['recipe'] == 'digits'
    assert config['settings']['epochs'] == 2
    assert {'jax', 'flax', 'python'} <= set(config['versions'])
    assert not (tmp_path / 'run' / 'results.json').exists()

    assert cli.main(['train', *flags]) == 2
    assert 'is not empty; name another one, or pass --resume or --overwrite' in capsys.readouterr().err

    monkeypatch.undo()
    monkeypatch.setitem(MODELS, 'tiny', functools.partial(ResNet, stage_sizes=(1,), features=4, stem='cifar'))
    assert cli.main(['train', '--resume', '--run-dir', folder, '--log-every', '1']) == 0
    captured = capsys.readouterr()
    assert 'resumed after step' in captured.err
    assert 'results, checkpoints and picture' in captured.out
    results = run_folder.read_results(folder)
    assert [record['epoch'] for record in results['static']['history']] == [1, 2]
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert (config['recipe'], config['settings']['log_every']) == ('digits', 1)
