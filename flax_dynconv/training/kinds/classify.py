"""Classification of images by a network of `create_model`, beside its static twin."""

import dataclasses
import json

from flax_dynconv.models import MODELS, SEGMENTERS, create_model, preprocessing, static_twin
from flax_dynconv.models.preprocessing import Preprocessing
from flax_dynconv.training.digits import digits
from flax_dynconv.training.extras import require
from flax_dynconv.training.kinds.arguments import AUGMENTATION, NETWORK, check_unused, fitting, no_use
from flax_dynconv.training.settings import INPUTS

RECIPE = FULL = 'digits'


def create_task(settings):
    """The `Task` of `settings.images.data`: 'digits', or the images of `data.opening.open_source`.

    Raises ValueError for augmentation of the digits, whose only one is a shift of one pixel, FileNotFoundError for
    data that are not there, ImportError for a missing package, and what the source raises.

    >>> from flax_dynconv.training.settings import Settings
    >>> create_task(Settings()).num_outputs
    10
    """
    check_unused(settings, (*NETWORK, *INPUTS, *AUGMENTATION), no_use('classify'))
    if settings.images.data == 'digits':
        reason = 'the digits are 8x8 pixels, shifted by up to one; settings must leave that as it is'
        check_unused(settings, ('label_smoothing',), reason, (*AUGMENTATION, *INPUTS))
        return digits(settings.augmentation.label_smoothing)
    for package in ('PIL', 'grain'):
        require(package, 'reads images')
    from flax_dynconv.training.data.opening import open_source
    from flax_dynconv.training.image_classification import ImageClassification

    return ImageClassification(open_source(settings.images.data), settings, input_facts(settings))


def unused_by_data(settings):
    """None: `create_task` looks at all."""
    return ()


def networks(settings):
    """Role and registry name of each network to train: the dynamic one and, if asked for, its static twin.

    >>> from flax_dynconv.training.settings import Settings
    >>> networks(Settings())
    {'dynamic': 'odconv_resnet8_4x', 'static': 'resnet8'}
    """
    name = settings.network.model
    twin = static_twin(name) if name in MODELS and _has_twin(name) else None
    if twin == name:
        return {'static': name}
    return {'dynamic': name} | ({'static': twin} if settings.twin and twin else {})


def build(name, num_outputs, settings):
    """The network called `name` with the arguments of `settings`; a static twin is not given those of its method.

    Raises ValueError for an unknown name, for a segmentation network, and for arguments or num_kernels that it does not
    have.
    """
    if name in SEGMENTERS:
        raise ValueError(f'model must be a classifier for --task classify, got the segmentation network {name}')
    network = settings.network
    arguments = json.loads(network.arguments)
    shared = {field: getattr(network, field) for field in ('width', 'drop_path', 'remat')}
    shared['dropout'] = network.dropout or 0.0
    shared['dtype'] = network.model_dtype
    if name != network.model:
        twin = create_model(name, num_classes=num_outputs, **shared)
        fields = {field.name for field in dataclasses.fields(twin)}
        return twin.clone(**{name: value for name, value in arguments.items() if name in fields})
    if network.num_kernels is not None:
        arguments['num_kernels'] = network.num_kernels
    with fitting(name, arguments, 'arguments and num_kernels'):
        return create_model(name, num_classes=num_outputs, **shared, **arguments)


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


def _has_twin(name):
    try:
        static_twin(name)
    except ValueError:
        return False
    return True
