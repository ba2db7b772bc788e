"""Every network by name: plain dicts, and functions that read them."""

import difflib
import fnmatch
import re

from flax_dynconv.models.dynet_mobile import DYNET_MOBILES
from flax_dynconv.models.dynet_mobilenet_v3 import DYNET_MOBILENETS_V3
from flax_dynconv.models.dynet_resnet import DYNET_RESNETS
from flax_dynconv.models.dynet_shufflenet import DYNET_SHUFFLENETS
from flax_dynconv.models.efficientnet import EFFICIENTNETS
from flax_dynconv.models.mnasnet import MNASNETS
from flax_dynconv.models.mobilenet_v1 import MOBILENETS_V1
from flax_dynconv.models.mobilenet_v2 import MOBILENETS_V2
from flax_dynconv.models.mobilenet_v3 import MOBILENETS_V3
from flax_dynconv.models.resnets import RESNETS
from flax_dynconv.models.segmenters import SEGMENTERS
from flax_dynconv.models.shufflenet_v2 import SHUFFLENETS_V2
from flax_dynconv.models.vggs import VGGS
from flax_dynconv.ops._checks import is_int

# name -> constructor that takes num_classes, dtype and the network's other fields as keywords; all are classifiers
MODELS = {**RESNETS, **MOBILENETS_V2, **EFFICIENTNETS, **MOBILENETS_V1, **MNASNETS, **MOBILENETS_V3, **SHUFFLENETS_V2}
MODELS |= {**DYNET_RESNETS, **DYNET_MOBILES, **DYNET_SHUFFLENETS, **DYNET_MOBILENETS_V3, **VGGS}


def create_model(name, num_classes=None, dtype=None, **overrides):
    """The network called `name`, with `num_classes` logits computed in `dtype`.

    A name of `MODELS` is a classifier of images (None: 1000 classes; 0: pooled features), one of `SEGMENTERS` a
    classifier of pixels (None: 19). `overrides` are keywords of the constructor that the dict has under this name: the
    fields of the network (`width`, `dropout`, `norm`, `act`, ...) and of its method (`num_kernels`, `reduction`).
    Apply it as `model.apply(variables, x, train=False)` to images (B, H, W, C).

    Raises ValueError for an unknown name (it suggests close ones), TypeError for an unknown override.

    >>> model = create_model('odconv_resnet18_4x', num_classes=10, dropout=0.2)
    >>> model.num_classes, model.dropout
    (10, 0.2)
    >>> create_model('dmnet_resnet50').num_classes
    19
    """
    require_name(name)
    least = 1 if name in SEGMENTERS else 0
    if num_classes is not None:
        if not is_int(num_classes) or num_classes < least:
            raise ValueError(f'num_classes must be an integer >= {least}, got {num_classes!r}')
        overrides['num_classes'] = num_classes
    constructor = SEGMENTERS[name] if name in SEGMENTERS else MODELS[name]
    return constructor(dtype=dtype, **overrides)


def require_name(name):
    """Refuse a name that no network has: a ValueError that suggests close ones."""
    if name not in MODELS and name not in SEGMENTERS:
        close = difflib.get_close_matches(str(name), [*MODELS, *SEGMENTERS], n=4)
        hint = f'did you mean {", ".join(close)}?' if close else 'list_models() names all'
        raise ValueError(f'name must be a known model, got {name!r}; {hint}')


def list_models(pattern='*'):
    """Sorted names of the classifiers (`MODELS`) that match a shell pattern; segmentation networks: `SEGMENTERS`.

    >>> list_models('odconv_resnet18_*')
    ['odconv_resnet18_1x', 'odconv_resnet18_2x', 'odconv_resnet18_4x']
    """
    return sorted(fnmatch.filter(MODELS, pattern))


def static_twin(name):
    """Name of the network of the same shape without dynamic convolutions; a static network is its own twin.

    The networks that the DyNet paper made have other channels than their twins, from which it made them;
    `dynet_resnet20` has the same. DMNet's is FCN: static convolutions in the place of the dynamic head.

    Raises ValueError if there is none.

    >>> static_twin('odconv_resnet18_4x')
    'resnet18'
    """
    if name in SEGMENTERS:
        twin = f'fcn_{name.partition("_")[2]}'
        if twin not in SEGMENTERS:
            raise ValueError(f'{name!r} has no static twin among the segmentation networks')
        return twin
    twin = re.sub(r'^[a-z]+conv_(.+)_\d+[ex]$', r'\1', name).removeprefix('dynet_')
    twin = {'dynet_mobilenetv2': 'mobilenetv2_100'}.get(name, twin)
    if twin not in MODELS:
        raise ValueError(f'{name!r} has no static twin among the models')
    return twin
