"""What TensorBoard would read back."""

import struct
import sys

import pytest

from flax_dynconv.training.monitoring.tensorboard import TensorBoard
from tests.training.monitoring import told

pytest.importorskip('tensorboardX')


def events(folder):
    """The events of all files of a folder, in the order in which TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):  # a record: its length, a checksum of it, the event, a checksum of it
            (size,) = struct.unpack_from('<Q', data, at)
            yield Event.FromString(data[at + 12 : at + 12 + size])
            at += size + 16


def scalars(folder):
    """{tag: {step: value}} after purging, as TensorBoard does it."""
    from tensorboardX.proto.event_pb2 import SessionLog

    found = {}
    for event in events(folder):
        if event.session_log.status == SessionLog.START:
            found = {tag: {s: v for s, v in values.items() if s < event.step} for tag, values in found.items()}
        for value in event.summary.value:
            if value.WhichOneof('value') == 'simple_value':
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_steps_epochs_and_networks(tmp_path):
    with TensorBoard(tmp_path, log_every=2) as board:
        board.said('no network yet')
        told.tell(board)
        told.tell(board, 'static', stop=6)
    dynamic, static = scalars(tmp_path / 'dynamic'), scalars(tmp_path / 'static')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['dynamic', 'static']
    for name in told.figures(0):
        expected = {step: told.figures(step)[name] for step in (1, 3, 5, 7, 9, 11)}
        assert dynamic[f'step/{name}'] == pytest.approx(expected)
    assert list(static['step/loss']) == [1, 3, 5]
    for split in ('train', 'test'):
        for name in ('loss', 'accuracy'):
            expected = {4 * epoch - 1: told.record(epoch)[split][name] for epoch in (1, 2, 3)}
            assert dynamic[f'{split}/{name}'] == pytest.approx(expected)
    for name in ('temperature', 'attention_entropy', 'images_per_second', 'skipped', 'seconds'):
        assert dynamic[f'epoch/{name}'] == pytest.approx({4 * e - 1: told.record(e)[name] for e in (1, 2, 3)})


def test_a_resume_hides_what_is_told_again(tmp_path):
    first = TensorBoard(tmp_path, log_every=1)
    first.started('dynamic', 0, told.STEPS, told.PER_EPOCH, told.BATCH)
    for step in range(6):
        first.stepped(step, {'loss': -1.0 if step >= 2 else told.figures(step)['loss']})
    first.closed()
    with TensorBoard(tmp_path, log_every=1) as second:
        told.tell(second, start=2, stop=4)
        second.said('resumed')
    assert len(list((tmp_path / 'dynamic').iterdir())) == 2
    expected = {step: told.figures(step)['loss'] for step in range(4)}
    assert scalars(tmp_path / 'dynamic')['step/loss'] == pytest.approx(expected)
    texts = [
        value.tag for event in events(tmp_path / 'dynamic') for value in event.summary.value if value.tensor.string_val
    ]
    assert texts == ['messages/text_summary']


def test_without_tensorboardx_the_error_says_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    with pytest.raises(
        ImportError, match=r"tensorboardX is not installed; it writes TensorBoard events .*'train' extra"
    ):
        TensorBoard(tmp_path)
