"""The task that settings describe."""

import dataclasses

from flax_dynconv.models import preprocessing
from flax_dynconv.models.preprocessing import Preprocessing
from flax_dynconv.training.digits import digits
from flax_dynconv.training.extras import require
from flax_dynconv.training.settings import INPUTS, Augmentation


def create_task(settings):
    """The `Task` of `settings.images.data`: 'digits', or classification of the images of `data.opening.open_source`.

    Raises ValueError for augmentation of the digits, whose only one is a shift of one pixel, FileNotFoundError for
    data that are not there, ImportError for a missing package, and what the source raises.

    >>> from flax_dynconv.training.settings import Settings
    >>> create_task(Settings()).num_outputs
    10
    """
    if settings.images.data == 'digits':
        _check_digits(settings)
        return digits(settings.augmentation.label_smoothing)
    for package in ('PIL', 'grain'):
        require(package, 'reads images')
    from flax_dynconv.training.data.opening import open_source
    from flax_dynconv.training.image_classification import ImageClassification

    return ImageClassification(open_source(settings.images.data), settings, input_facts(settings))


def input_facts(settings):
    """The `Preprocessing` of a run: that of the network's published weights, changed as the settings say.

    Another `image_size` changes `resize` in proportion, unless that is given. Raises ValueError for a network of which
    nothing is known, unless the settings say all, and for an image larger than `resize`.

    >>> from flax_dynconv.training.settings import Settings
    >>> input_facts(Settings().updated(model='odconv_resnet18_4x', image_size=112))[:3]
    (112, 128, 'bilinear')
    """
    given = {name: getattr(settings.images, name) for name in INPUTS}
    given = {name: value for name, value in given.items() if value is not None}
    if set(given) == set(INPUTS):
        facts = Preprocessing(**given, source='settings')
    else:
        facts = preprocessing(settings.network.model)
        if 'image_size' in given and 'resize' not in given:
            given['resize'] = round(facts.resize * given['image_size'] / facts.image_size)
        facts = facts._replace(**given)
    if facts.image_size > facts.resize:
        raise ValueError(f'image_size must be at most resize = {facts.resize}, got {facts.image_size}')
    return facts


def _check_digits(settings):
    usual, chosen = Augmentation(), settings.augmentation
    names = [field.name for field in dataclasses.fields(usual) if field.name != 'label_smoothing']
    changed = {name: getattr(chosen, name) for name in names if getattr(chosen, name) != getattr(usual, name)}
    given = {name: getattr(settings.images, name) for name in INPUTS}
    changed |= {name: value for name, value in given.items() if value is not None}
    if changed:
        listed = ', '.join(f'{name}={value!r}' for name, value in changed.items())
        raise ValueError(
            f'the digits are 8x8 pixels, shifted by up to one; settings must leave that as it is, got {listed}'
        )
