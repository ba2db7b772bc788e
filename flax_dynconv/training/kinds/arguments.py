"""Fields of networks that settings fill in, where they have them, and settings that a kind has no use for."""

import dataclasses
import json

from flax_dynconv.training.settings import Augmentation, Network


def constructed(constructor, name, settings, **own):
    """`constructor` with width, dtype and the JSON arguments of the settings, on top of `own`.

    ValueError for arguments that it does not take.
    """
    network = settings.network
    given = own | {'width': network.width, 'dtype': network.model_dtype} | json.loads(network.arguments)
    try:
        return constructor(**given)
    except TypeError as error:
        listed = ', '.join(f'{field}={value!r}' for field, value in given.items())
        raise ValueError(f'arguments must fit {name}, got {listed}: {error}') from error


def check_unused(settings, task, used=()):
    """ValueError for settings of networks and images that are not the defaults and would do nothing."""
    changed = {}
    for part, names in (
        (settings.network, ('num_kernels', 'dropout', 'drop_path', 'remat')),
        (settings.augmentation, None),
    ):
        usual = (Network if names else Augmentation)()
        for name in names or [field.name for field in dataclasses.fields(part)]:
            if name not in used and getattr(part, name) != getattr(usual, name):
                changed[name] = getattr(part, name)
    for name in ('resize', 'interpolation', 'mean', 'std'):
        if getattr(settings.images, name) is not None:
            changed[name] = getattr(settings.images, name)
    if changed:
        listed = ', '.join(f'{name}={value!r}' for name, value in changed.items())
        raise ValueError(f'settings must leave as they are what the task {task} has no use for, got {listed}')
