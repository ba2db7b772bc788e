"""Videos, or stereo pairs, of a file of arrays."""

import dataclasses

import numpy as np

from flax_dynconv.training.data import array_files, passes

_AXES = '(videos, frames, height, width)'
_PAIR = ('left', 'right')


@dataclasses.dataclass(frozen=True)
class Recorded:
    """`Examples` frames (frames, H, W, 1) float32 from 0 to 1, of `arrays` {'train', 'test'}: grey videos (N, T, H, W).

    Of longer videos training sees a part that is drawn, and a test the first `frames`.
    """

    name: str
    arrays: dict
    frames: int

    def size(self, split):
        """Examples of a pass."""
        return len(self.arrays[split])

    def training(self, seed, epoch):
        """A function of the position in the pass."""
        videos = self.arrays['train']
        order = passes.order(len(videos), seed, epoch)
        room = videos.shape[1] - self.frames

        def make(position):
            first = passes.example_generator(seed, epoch, position).integers(0, room + 1)
            return self._cut(videos[order[position]], first)

        return make

    def test(self, index):
        """A test example."""
        return self._cut(self.arrays['test'][index], 0)

    def _cut(self, video, first):
        return {'frames': array_files.scaled(video[first : first + self.frames])[..., None]}


def read_videos(path, frames, test_examples):
    """The `Recorded` of a file: grey, uint8 or floats from 0 to 1, each of at least `frames` frames.

    Videos are (N, T, H, W), and in an .npy, where the first axis is shorter than the second, (T, N, H, W), as in the
    public Moving-MNIST test set (20, 10000, 64, 64): the name then says so. A last axis of length 1 may follow. An .npz
    holds 'train' and 'test'; or 'left' and 'right' (N, H, W), stereo pairs, and perhaps 'left_test' and 'right_test'.
    Without test videos the last `test_examples` are held out. Raises FileNotFoundError, and ValueError, with the name
    of the file, for anything else.
    """
    arrays, title = array_files.read_arrays(path), str(path)
    if any(name.removesuffix('_test') in _PAIR for name in arrays):
        if frames != 2:
            raise ValueError(
                f'{path} holds stereo pairs: input_frames and output_frames must be 1, got {frames} in all'
            )
        arrays = _pairs(arrays, path)
    else:
        arrays = {name: _checked(array, array_files.where(path, name)) for name, array in arrays.items()}
        if '' in arrays and arrays[''].shape[0] < arrays[''].shape[1]:
            arrays[''], title = arrays[''].swapaxes(0, 1), f'{path}, axes taken as (frames, videos, height, width)'
    arrays = array_files.by_split(arrays, test_examples, path)
    if arrays['train'].shape[2:] != arrays['test'].shape[2:]:
        shapes = {split: array.shape for split, array in arrays.items()}
        raise ValueError(f'{path}: frames for training and tests must have one size, got {shapes}')
    for split, array in arrays.items():
        if array.shape[1] < frames:
            raise ValueError(
                f'{path} must have input_frames + output_frames = {frames} frames in every video of {split}, '
                f'got {array.shape[1]}'
            )
    return Recorded(title, arrays, frames)


def _checked(array, where):
    if array.ndim == 5 and array.shape[-1] == 1:
        array = array[..., 0]
    array_files.check_pixels(array, 4, where, _AXES)
    return array


def _pairs(arrays, path):
    """Left and right images as videos of two frames: {'': all} or {'train', 'test'}."""
    wanted = {'': _PAIR} if not any(name.endswith('_test') for name in arrays) else {'train': _PAIR}
    if 'train' in wanted:
        wanted['test'] = tuple(f'{side}_test' for side in _PAIR)
    names = [name for pair in wanted.values() for name in pair]
    if set(arrays) != set(names):
        missing, more = (sorted(set(a) - set(b)) for a, b in ((names, arrays), (arrays, names)))
        raise ValueError(f'{path} must hold the stereo pairs {names}; missing: {missing}, unknown: {more}')
    for name, array in arrays.items():
        array_files.check_pixels(array, 3, array_files.where(path, name), '(pairs, height, width)')
    for left, right in wanted.values():
        if arrays[left].shape != arrays[right].shape or arrays[left].dtype != arrays[right].dtype:
            raise ValueError(
                f"{path}: '{left}' and '{right}' must have one shape and dtype, got {arrays[left].shape} "
                f'{arrays[left].dtype} and {arrays[right].shape} {arrays[right].dtype}'
            )
    return {split: np.stack([arrays[name] for name in pair], axis=1) for split, pair in wanted.items()}
