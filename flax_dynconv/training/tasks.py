"""The kind of problem that settings name, and its task and networks."""

import importlib

KINDS = {
    'classify': 'flax_dynconv.training.kinds.classify',
    'steerable': 'flax_dynconv.training.kinds.steerable',
    'video': 'flax_dynconv.training.kinds.video',
    'segment': 'flax_dynconv.training.kinds.segment',
    'instances': 'flax_dynconv.training.kinds.instances',
    'saliency': 'flax_dynconv.training.kinds.saliency',
}


def kind(name):
    """The module of a kind, imported when it is asked for; ValueError for an unknown name.

    >>> kind('classify').RECIPE
    'digits'
    """
    if name not in KINDS:
        raise ValueError(f'task must be one of {", ".join(KINDS)}, got {name!r}')
    return importlib.import_module(KINDS[name])


def create_task(settings):
    """The `Task` that settings describe; raises what its kind raises.

    >>> from flax_dynconv.training.settings import Settings
    >>> create_task(Settings()).num_outputs
    10
    """
    return kind(settings.task).create_task(settings)


def networks(settings):
    """Role and name of each network to train, the dynamic one first.

    >>> from flax_dynconv.training.settings import Settings
    >>> networks(Settings())
    {'dynamic': 'odconv_resnet8_4x', 'static': 'resnet8'}
    """
    return kind(settings.task).networks(settings)


def build(name, num_outputs, settings):
    """The network called `name`, with the arguments of `settings`; ValueError for those that it does not have."""
    return kind(settings.task).build(name, num_outputs, settings)
