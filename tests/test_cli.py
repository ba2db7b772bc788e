"""The command line: help, mistakes, exit codes. Whole runs are in tests/training/test_experiment.py."""

import subprocess
import sys
import warnings

import pytest

from flax_dynconv import cli
from flax_dynconv.training import experiment
from flax_dynconv.training.data import listing


def test_help_lists_every_command():
    run = subprocess.run([sys.executable, '-m', 'flax_dynconv.cli', '--help'], capture_output=True, text=True)
    assert run.returncode == 0
    assert all(command in run.stdout for command in cli.COMMANDS)


@pytest.mark.parametrize('command', cli.COMMANDS)
def test_help_of_each_command(command, capsys):
    if command == 'train':
        pytest.importorskip('tyro', reason='it reads the command line')
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, '--help'])
    assert stopped.value.code == 0
    assert f'flax-dynconv {command}' in capsys.readouterr().out


@pytest.mark.parametrize('arguments', [[], ['trian'], ['models', '--jsno'], ['summary']])
def test_arguments_that_argparse_refuses(arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--model', 'odconv_resnet9_4x'], 'did you mean odconv_resnet8_4x'),
        (['--model', 'resnet81'], 'did you mean resnet8'),
        (['--batch-size', '1400'], 'batch_size must be at most the 1347 training images, got 1400'),
        (['--epochs', '0'], 'epochs must be a number >= 1, got 0'),
        (['--data', 'no such folder'], 'no such folder'),
        (
            ['--arguments', '{"reductoin": 3}'],
            "must fit odconv_resnet8_4x, got reductoin=3: a ResNet has no field 'reductoin'",
        ),
        (
            ['--model', 'resnet8', '--num-kernels', '2'],
            "must fit resnet8, got num_kernels=2: a ResNet has no field 'num_kernels'",
        ),
        (
            ['--coordinator', 'host', '--num-processes', '2', '--process-id', '0'],
            "coordinator must be address:port, got 'host'",
        ),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(arguments, message, tmp_path, capsys):
    assert cli.main(['train', '--run-dir', str(tmp_path / 'run'), *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('flax-dynconv train: error: ')
    assert message in error
    assert not (tmp_path / 'run').exists()


def test_a_folder_in_use_is_refused(tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert cli.main(['train', '--run-dir', str(tmp_path)]) == 2
    assert 'is not empty; name another one, or pass --resume or --overwrite' in capsys.readouterr().err


def test_a_missing_extra_is_said_before_anything_is_written(tmp_path, monkeypatch, capsys):
    def missing(module, purpose):
        raise ImportError(f"{module} is not installed; it {purpose}: pip install '.[train]'")

    monkeypatch.setattr(experiment, 'require', missing)
    assert cli.main(['train', '--run-dir', str(tmp_path / 'run')]) == 2
    assert "pip install '.[train]'" in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


def test_an_extra_that_a_setting_needs_is_said_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    assert cli.main(['train', '--run-dir', str(tmp_path / 'run'), '--tensorboard']) == 2
    assert 'tensorboardX is not installed; it writes TensorBoard events' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


def test_warnings_are_a_line(monkeypatch, capsys):
    from flax_dynconv.training import train_cli

    def warn(args):
        warnings.warn_explicit('2 files are left out', UserWarning, listing.__file__, 1)
        warnings.warn_explicit('of another package', UserWarning, '/elsewhere/x.py', 1)
        return 0

    monkeypatch.setattr(train_cli, 'run', warn)
    with pytest.warns(UserWarning, match='of another package') as others:
        assert cli.main(['train']) == 0
    assert capsys.readouterr().err == 'flax-dynconv train: warning: 2 files are left out\n'
    assert len(others) == 1


def test_an_unexpected_error_keeps_its_traceback(monkeypatch):
    from flax_dynconv.training import train_cli

    def broken(args):
        raise KeyError('a bug')

    monkeypatch.setattr(train_cli, 'run', broken)
    with pytest.raises(KeyError, match='a bug'):
        cli.main(['train'])
