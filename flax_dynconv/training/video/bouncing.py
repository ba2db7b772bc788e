"""Videos of digits that move over a black canvas and bounce off its edges, drawn without end."""

import dataclasses

import numpy as np

from flax_dynconv.training.data import passes
from flax_dynconv.training.video.moving_digits import Digits


@dataclasses.dataclass(frozen=True)
class Bouncing:
    """`Examples` frames (frames, canvas, canvas, 1) float32 from 0 to 1.

    Each digit is one of `digits`, starts anywhere and moves in any direction, drawn uniformly, by `step` a frame; where
    digits overlap the brighter pixel is seen. Training videos are a function of seed, epoch and position; test videos,
    of the digits for tests, are the same in every run.

    Source: Srivastava et al., "Unsupervised Learning of Video Representations using LSTMs" (ICML 2015), as generated
    in dbbert/dfn. Here the first frame shows the position that was drawn.
    """

    digits: Digits
    canvas: int
    frames: int
    count: int  # digits in a video
    step: float
    train_examples: int
    test_examples: int

    @property
    def name(self):
        """Of the digits."""
        return self.digits.name

    def size(self, split):
        """Examples of a pass."""
        return self.train_examples if split == 'train' else self.test_examples

    def training(self, seed, epoch):
        """A function of the position in the pass."""
        return lambda position: self._video(passes.example_generator(seed, epoch, position), self.digits.train)

    def test(self, index):
        """A test example."""
        return self._video(passes.held_out_generator(index), self.digits.test)

    def _video(self, generator, images):
        chosen = images[generator.integers(0, len(images), self.count)]
        start = generator.random((self.count, 2))
        path = trajectory(start, generator.uniform(0, 2 * np.pi, self.count), self.step, self.frames)
        return {'frames': drawn(chosen, path, self.canvas)}


def trajectory(start, direction, step, frames):
    """Positions (frames, N, 2) in [0, 1]^2 from `start` (N, 2), in the directions (N,) in radians.

    A position that would leave the square is clamped to its edge, and that component of the velocity turns.

    >>> trajectory(np.array([[0.5, 0.85]]), np.array([np.pi / 2]), 0.1, 5)[:, 0, 1].round(6).tolist()
    [0.85, 0.95, 1.0, 0.9, 0.8]
    """
    velocity = step * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    path = [start]
    for _ in range(frames - 1):
        moved = path[-1] + velocity
        position = np.clip(moved, 0, 1)
        velocity = np.where((moved <= 0) | (moved >= 1), -velocity, velocity)
        path.append(position)
    return np.stack(path)


def drawn(images, path, canvas):
    """Frames (T, canvas, canvas, 1) of images (N, h, w) whose corners are at int((canvas - size) * position)."""
    _, height, width = images.shape
    video = np.zeros((len(path), canvas, canvas, 1), np.float32)
    corners = (np.array([canvas - height, canvas - width]) * path).astype(int)
    for frame, places in zip(video[..., 0], corners, strict=True):
        for image, (top, left) in zip(images, places, strict=True):
            part = frame[top : top + height, left : left + width]
            np.maximum(part, image, out=part)
    return video
