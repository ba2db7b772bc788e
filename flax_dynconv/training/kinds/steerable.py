"""Learning the filter of every angle by `SteerableFilter`, alone: there is no static network that could."""

from flax_dynconv.models import SteerableFilter
from flax_dynconv.training.kinds.arguments import DRAWN, check_unused, constructed, no_use
from flax_dynconv.training.steering.opening import NOISE, open_images
from flax_dynconv.training.steering.task import SteerableFiltering

RECIPE, FULL = 'steerable', 'dfn-steerable'
NETWORK = 'steerable_filter'


class Explained(SteerableFilter):
    """`SteerableFilter` that also returns the taps (B, 81) that it generated, to be judged by."""

    def __call__(self, image, theta, train=False):
        """image (B, H, W, 1) and theta (B,) to the filtered image and the taps."""
        return self.filtered(image, theta)


def create_task(settings):
    """The `SteerableFiltering` of `settings.images.data`; raises what `steering.opening` raises.

    >>> from flax_dynconv.training.recipes import find_recipe
    >>> create_task(find_recipe('steerable').settings).score
    'explained'
    """
    check_unused(settings, ('image_size', *DRAWN), no_use('steerable'))
    return SteerableFiltering(open_images(settings))


def unused_by_data(settings):
    """Images of a file are as many as they are."""
    return () if settings.images.data == NOISE else ('train_examples',)


def networks(settings):
    """The one network.

    >>> from flax_dynconv.training.recipes import find_recipe
    >>> networks(find_recipe('steerable').settings)
    {'dynamic': 'steerable_filter'}
    """
    return {'dynamic': settings.network.model}


def build(name, num_outputs, settings):
    """The network; ValueError for another name, or for arguments that it does not have."""
    if name != NETWORK:
        raise ValueError(f'model of the task steerable must be {NETWORK}, got {name!r}')
    return constructed(Explained, name, settings)
