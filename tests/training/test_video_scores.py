"""What the best constant image leaves to a network that predicts frames: nothing is refused, rounding is no score."""

import numpy as np
import pytest

from flax_dynconv import cli
from flax_dynconv.training.video import figures
from flax_dynconv.training.video.recorded import Recorded
from flax_dynconv.training.video.task import FramePrediction

STEREO = ('train', '--recipe', 'dfn-stereo', '--width', '0.05', '--no-twin', '--image-size', '8', '--epochs', '1')


def noise(*shape):
    return np.random.default_rng(0).random(shape).astype(np.float32)


def test_a_single_pair_is_no_test(tmp_path, capsys):
    np.savez(tmp_path / 'st.npz', left=noise(9, 8, 8), right=noise(9, 8, 8))
    run = '--data', str(tmp_path / 'st.npz'), '--test-examples', '1', '--batch-size', '2'
    assert cli.main([*STEREO, *run, '--run-dir', str(tmp_path / 'run')]) == 2
    said = capsys.readouterr().err
    assert 'st.npz: predicted frames of the tests must differ, got the same in all' in said
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('loss', ['bce', 'mse'])
def test_videos_that_stand_still_are_no_test(loss):
    videos = {'train': noise(3, 4, 8, 8), 'test': np.zeros((5, 4, 8, 8), np.uint8)}
    with pytest.raises(ValueError, match=r'black\.npy: predicted frames of the tests must differ'):
        FramePrediction(Recorded('black.npy', videos, 4), 2, loss)
    # What is seen may be the same.
    videos['test'][4, 3, 0, 0] = 1
    assert FramePrediction(Recorded('black.npy', videos, 4), 2, loss).examples.size('test') == 5


@pytest.mark.parametrize('grey', [0.0, 0.3, 0.7])
def test_a_training_pass_that_stands_still_has_no_share(grey):
    still = np.broadcast_to(noise(1, 1, 8, 8) if grey == 0.7 else np.full((1, 1, 8, 8), grey, np.float32), (6, 2, 8, 8))
    task = FramePrediction(Recorded('x', {'train': still, 'test': noise(2, 2, 8, 8)}, 2), 1, 'mse')
    batch = next(task.batches('train', 6))
    summary = task.summary(task.metrics(np.zeros((6, 1, 8, 8, 1), np.float32), batch))
    assert summary['saved'] == 0.0
    assert summary['constant_mse'] == pytest.approx(0, abs=1e-7) and summary['constant_mse'] >= 0


def test_small_differences_are_a_score_all_the_same():
    """A hundredth of the brightness, of which a perfect prediction saves all and half of it three quarters."""
    frames = 0.5 + 0.01 * (noise(8, 2, 8, 8) - 0.5)
    task = FramePrediction(Recorded('x', {'train': frames, 'test': frames}, 2), 1, 'mse')
    batch = next(task.batches('test', 8))
    truth = np.float64(task.truth(batch))
    mean = truth.mean(axis=(0, 1), keepdims=True)
    half = np.float32(mean + (truth - mean) / 2)
    assert task.summary(task.metrics(np.float32(truth), batch))['saved'] == 1.0
    assert task.summary(task.metrics(half, batch))['saved'] == pytest.approx(0.75, abs=0.01)


def test_rounding_is_no_negative_error():
    assert figures.of_best_constant(np.array([0.3]), 0.09 - 1e-9)['mse'] == 0.0
