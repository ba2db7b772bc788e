"""Fields of networks that settings fill in, where they have them, and settings that a kind has no use for."""

import contextlib
import dataclasses
import json

from flax_dynconv.training.settings import (
    INPUTS,
    Augmentation,
    Drawn,
    Frames,
    Instances,
    Saliency,
    Segmentation,
    Settings,
)

NETWORK = ('num_kernels', 'dropout', 'drop_path', 'remat')
AUGMENTATION, SEGMENTATION, INSTANCES, SALIENCY, DRAWN, FRAMES = (
    tuple(field.name for field in dataclasses.fields(record))
    for record in (Augmentation, Segmentation, Instances, Saliency, Drawn, Frames)
)
# What some kind has a use for and another has not.
OPTIONAL = (*NETWORK, *INPUTS, *AUGMENTATION, *SEGMENTATION, *INSTANCES, *SALIENCY, *DRAWN, *FRAMES)


def constructed(constructor, name, settings, **own):
    """`constructor` with width, dtype and the JSON arguments of the settings, on top of `own`.

    ValueError for arguments that it does not take.
    """
    network = settings.network
    given = own | {'width': network.width, 'dtype': network.model_dtype} | json.loads(network.arguments)
    with fitting(name, given):
        return constructor(**given)


@contextlib.contextmanager
def fitting(name, given, what='arguments'):
    """Within it, the TypeError of a call of the network `name` with `given` becomes a ValueError that lists them.

    >>> with fitting('resnet8', {'depth': 3}):
    ...     raise TypeError('no field depth')
    Traceback (most recent call last):
    ValueError: arguments must fit resnet8, got depth=3: no field depth
    """
    try:
        yield
    except TypeError as error:
        raise ValueError(f'{what} must fit {name}, got {listed(given)}: {error}') from error


def check_unused(settings, used, reason, among=OPTIONAL):
    """ValueError, which begins with `reason`, for settings `among` that are not `used` and not the defaults.

    >>> check_unused(Settings().updated(flip=0.5), ('flip',), 'nothing else does anything')
    """
    usual, chosen = Settings().flat(), settings.flat()
    changed = {name: chosen[name] for name in among if name not in used and chosen[name] != usual[name]}
    if changed:
        raise ValueError(f'{reason}, got {listed(changed)}')


def no_use(task):
    """The reason of most kinds for `check_unused`.

    >>> no_use('video')
    'settings must leave as they are what the task video has no use for'
    """
    return f'settings must leave as they are what the task {task} has no use for'


def listed(values):
    """Names and values for a message.

    >>> listed({'width': 0.5, 'depth': 3})
    'width=0.5, depth=3'
    """
    return ', '.join(f'{name}={value!r}' for name, value in values.items())
