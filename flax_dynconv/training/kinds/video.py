"""Prediction of frames by a network of `FRAME_PREDICTORS`, beside its baseline of equal size without filtering."""

import jax

from flax_dynconv.models import FRAME_PREDICTORS
from flax_dynconv.training.kinds.arguments import DRAWN, FRAMES, check_unused, constructed, no_use
from flax_dynconv.training.video.opening import is_recorded, open_videos
from flax_dynconv.training.video.task import FramePrediction

RECIPE, FULL = 'video', 'dfn-moving-mnist'
_BASELINE = '_baseline'


def create_task(settings):
    """The `FramePrediction` of `settings.images.data`; raises what `video.opening` raises.

    >>> from flax_dynconv.training.recipes import find_recipe
    >>> create_task(find_recipe('video').settings).score
    'saved'
    """
    check_unused(settings, ('remat', 'image_size', *DRAWN, *FRAMES), no_use('video'))
    return FramePrediction(open_videos(settings), settings.frames.input_frames, settings.frames.frame_loss)


def unused_by_data(settings):
    """Recorded videos are as many as they are, and of what moves."""
    return ('train_examples', 'moving_digits', 'digit_step') if is_recorded(settings.images.data) else ()


def networks(settings):
    """Role and name of each network to train: the filtering one and, if asked for, its baseline.

    >>> from flax_dynconv.training.recipes import find_recipe
    >>> networks(find_recipe('video').settings)
    {'dynamic': 'dfn_moving_mnist', 'static': 'dfn_moving_mnist_baseline'}
    """
    name = settings.network.model
    if name.endswith(_BASELINE):
        return {'static': name}
    twin = name + _BASELINE
    return {'dynamic': name} | ({'static': twin} if settings.twin and twin in FRAME_PREDICTORS else {})


def build(name, num_outputs, settings):
    """The network called `name`, for the frames of `settings`; ValueError for another name, or unknown arguments."""
    if name not in FRAME_PREDICTORS:
        raise ValueError(f'model of the task video must be one of {", ".join(FRAME_PREDICTORS)}, got {name!r}')
    return constructed(
        FRAME_PREDICTORS[name],
        name,
        settings,
        output_frames=settings.frames.output_frames,
        remat=settings.network.remat,
        # XLA for CPU is slow at the backward pass of convolutions within a loop.
        unroll=True if jax.default_backend() == 'cpu' else 1,
    )
