"""Run folders: whose they are, when they may be written to, and their JSON files."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from flax_dynconv.training import run_folder

HOLD = """
import sys, time
from flax_dynconv.training import run_folder
with run_folder.opened(sys.argv[1]):
    print('held', flush=True)
    time.sleep(100)
"""


def begun(folder):
    """A folder with a run that has been started."""
    with run_folder.opened(folder):
        run_folder.write_config(folder, {'seed': 3})
    return folder


def test_the_first_free_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for expected in ('runs/cifar', 'runs/cifar-2', 'runs/cifar-3'):
        with run_folder.opened(name='cifar') as folder:
            assert folder.as_posix() == expected
            (folder / 'file').touch()
    (tmp_path / 'runs/cifar-2/file').unlink()
    with run_folder.opened(name='cifar') as folder:
        assert folder.as_posix() == 'runs/cifar-2'
        # Still empty, but taken.
        with run_folder.opened(name='cifar') as other:
            assert other.as_posix() == 'runs/cifar-4'


def test_a_folder_in_use_is_refused_until_its_process_is_gone(tmp_path):
    folder = tmp_path / 'run'
    with subprocess.Popen([sys.executable, '-c', HOLD, folder], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == 'held\n'
            message = rf'run-dir .*run is in use by process {holder.pid} on {socket.gethostname()}, since 2'
            for how in ({}, {'overwrite': True}, {'resume': True}):
                with pytest.raises(run_folder.InUse, match=message), run_folder.opened(folder, **how):
                    raise AssertionError('two runs in one folder')
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
    with run_folder.opened(folder) as again:
        assert again == folder
        assert f'process {os.getpid()} ' in (folder / run_folder.LOCK).read_text()
    with run_folder.opened(folder):
        pass


def test_a_folder_with_something_is_refused_unless_overwritten(tmp_path):
    (tmp_path / 'notes.txt').write_text('keep me')
    for name in run_folder.WRITTEN:
        if '.' in name:
            (tmp_path / name).write_text('{}')
        else:
            (tmp_path / name / 'below').mkdir(parents=True)
    before = sorted(path.name for path in tmp_path.iterdir())
    message = r'run-dir .* is not empty; name another one, or pass --resume or --overwrite'
    with pytest.raises(FileExistsError, match=message), run_folder.opened(tmp_path):
        raise AssertionError('opened')
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    with run_folder.opened(tmp_path, overwrite=True) as folder:
        assert folder == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == [run_folder.LOCK, 'notes.txt']


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(ValueError, match='resume needs a run-dir'), run_folder.opened(resume=True):
        raise AssertionError('opened')
    with pytest.raises(ValueError, match='exclude each other'), run_folder.opened(tmp_path, True, True):
        raise AssertionError('opened')
    for path in (tmp_path, tmp_path / 'missing'):
        with (
            pytest.raises(FileNotFoundError, match=r'holds nothing to resume: there is no config\.json in it'),
            run_folder.opened(path, resume=True),
        ):
            raise AssertionError('opened')
    assert list(tmp_path.iterdir()) == []
    folder = begun(tmp_path / 'run')
    with run_folder.opened(folder, resume=True):
        assert run_folder.read_config(folder) == {'seed': 3}


def test_what_a_killed_start_leaves_is_no_run(tmp_path):
    for name in ('.lock', '.writable', '.config.json'):
        (tmp_path / name).touch()
    with run_folder.opened(tmp_path) as folder:
        assert folder == tmp_path


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(FileExistsError, match=r'run-dir must be a folder, .* is a file'):
        run_folder.opened(tmp_path / 'file').__enter__()
    with pytest.raises(OSError, match=r'run-dir .*below cannot be written to: Not a directory'):
        run_folder.opened(tmp_path / 'file' / 'below').__enter__()


@pytest.mark.skipif(os.geteuid() == 0, reason='the superuser may write everywhere')
def test_a_folder_without_permission_is_said_at_once(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(OSError, match=r'run-dir .* cannot be written to: Permission denied'):
        run_folder.opened(tmp_path).__enter__()


def test_too_little_room_is_said_before_anything_is_removed(tmp_path):
    folder = begun(tmp_path / 'run')
    with pytest.raises(OSError, match=r'disk with \d+\.\d\d [GM]B left; the checkpoints take up to 1000000000\.00 GB'):
        run_folder.opened(folder, overwrite=True, needed_bytes=10**18).__enter__()
    assert run_folder.read_config(folder) == {'seed': 3}
    with run_folder.opened(folder, overwrite=True, needed_bytes=1):
        pass


def test_results_are_complete_or_absent(tmp_path):
    with pytest.raises(ValueError, match='JSON'):
        run_folder.write_results(tmp_path, {'loss': float('nan')})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r'holds no finished run: there is no results\.json in it'):
        run_folder.read_results(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'holds no run: there is no config\.json in it'):
        run_folder.read_config(tmp_path)
    run_folder.write_results(tmp_path, {'loss': 0.5})
    assert run_folder.read_results(tmp_path) == {'loss': 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ['results.json']
    (tmp_path / run_folder.RESULTS).write_text(json.dumps({'loss': 0.5})[:-3])
    with pytest.raises(ValueError, match=r'results\.json is not valid JSON'):
        run_folder.read_results(tmp_path)
