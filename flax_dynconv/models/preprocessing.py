"""What a network's published weights expect of an image: size, crop, interpolation, mean and deviation."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp

from flax_dynconv.models.registry import require_name
from flax_dynconv.models.segmenters import SEGMENTERS


class Preprocessing(NamedTuple):
    """How an image becomes an input: shorter side to `resize`, `image_size` pixels of the centre, (x - mean) / std.

    x is in [0, 1], `mean` and `std` have one entry per channel; `interpolation` is 'bilinear' or 'bicubic';
    `source` says whose evaluation this is.
    """

    image_size: int
    resize: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    @property
    def crop_pct(self):
        """The share of the resized shorter side that is kept."""
        return self.image_size / self.resize


_IMAGENET = {'mean': (0.485, 0.456, 0.406), 'std': (0.229, 0.224, 0.225)}
# TensorFlow's (x - 127) / 128 of the authors, in the form in which timm publishes it.
_HALF = {'mean': (0.5, 0.5, 0.5), 'std': (0.5, 0.5, 0.5)}
_CIFAR = {'mean': (0.4914, 0.4822, 0.4465), 'std': (0.247, 0.2435, 0.2616)}

# Names of `jax.image.resize`.
_METHODS = {'bilinear': 'linear', 'bicubic': 'cubic'}

# The first pattern that is found in a name decides.
_RULES = (
    (
        r'resnet(8|20)(_|$)|^vgg8_bn$',
        Preprocessing(32, 32, 'bilinear', **_CIFAR, source='statistics of CIFAR-10, no weights'),
    ),
    (r'^condconv_efficientnet_b0', Preprocessing(224, 256, 'bicubic', **_HALF, source='timm tf_efficientnet_cc_b0')),
    (r'^condconv_efficientnet_b1', Preprocessing(240, 272, 'bicubic', **_HALF, source='timm tf_efficientnet_cc_b1')),
    (r'^efficientnet_b0$', Preprocessing(224, 256, 'bicubic', **_IMAGENET, source='timm tf_efficientnet_b0.in1k')),
    (r'^efficientnet_b1$', Preprocessing(240, 272, 'bicubic', **_IMAGENET, source='timm tf_efficientnet_b1.in1k')),
    (r'^mnasnet_a1', Preprocessing(224, 256, 'bicubic', **_IMAGENET, source='timm semnasnet_100.rmsp_in1k')),
    (
        r'^shufflenetv2_(150|200)$',
        Preprocessing(224, 232, 'bilinear', **_IMAGENET, source='torchvision IMAGENET1K_V1'),
    ),
    (
        r'^(resnet(18|34|50|101)|mobilenetv2_100|mobilenetv3_(small|large)|vgg(16|19)_bn|shufflenetv2_(050|100))$',
        Preprocessing(224, 256, 'bilinear', **_IMAGENET, source='torchvision IMAGENET1K_V1'),
    ),
    (r'^odconv_', Preprocessing(224, 256, 'bilinear', **_IMAGENET, source='OSVAI/ODConv main.py')),
    (
        r'^((dyconv|condconv|dynet|mobilenetv1)_|resnet10$|mobilenetv2_(050|075)$)',
        Preprocessing(224, 256, 'bilinear', **_IMAGENET, source='the usual one for ImageNet, no weights published'),
    ),
)


def preprocessing(name):
    """The `Preprocessing` of the network called `name`: that of the published weights which `source` names.

    Other weights of the same network may want another: torchvision's IMAGENET1K_V2 a `resize` of 232, timm's
    AdvProp EfficientNets ('ap') a mean and deviation of 0.5; `facts._replace(resize=232)` says so. The small
    ResNets and `vgg8_bn` have no published weights: 32 pixels and the statistics of CIFAR-10.

    Raises ValueError for an unknown name (it suggests close ones), for a segmentation network, which takes images of
    any size, and for a model that was added to `MODELS` and of which nothing is known.

    >>> facts = preprocessing('condconv_efficientnet_b1_8e')
    >>> facts.image_size, facts.resize, facts.interpolation, facts.mean
    (240, 272, 'bicubic', (0.5, 0.5, 0.5))

    Sources: torchvision's weight enumerations, timm's `default_cfgs` (resize = floor(image_size / crop_pct) with
    crop_pct 0.875 and, for B1, 0.882) and the evaluation code of OSVAI/ODConv.
    """
    require_name(name)
    for pattern, facts in _RULES:
        if name not in SEGMENTERS and re.search(pattern, name):
            return facts
    raise ValueError(f'no preprocessing is known for {name!r}; describe it by a Preprocessing(...)')


def preprocess(image, facts):
    """`image` (H, W, C) or (B, H, W, C) as the input (.., image_size, image_size, C) of a network, in float32.

    uint8 from 0 to 255, or floating from 0 to 1. The longer side of the resized image is rounded down, the margin of
    the crop to even, as in torchvision.

    Resampling is `jax.image.resize` with antialiasing, PIL's filters: along the width, then along the height, each
    clipped to the range of the image (bicubic leaves it) and for uint8 rounded to whole levels, halves up, as PIL
    does. PIL computes in fixed point: on images of noise at most one level differs (1/255, before the division by
    `std`), in less than one value of a hundred. Floating images are not rounded.

    Raises ValueError for another shape, for channels that `facts` has no mean for, for a crop larger than the
    resized image and for an unknown interpolation; TypeError for another dtype.

    >>> x = preprocess(jnp.full((300, 500, 3), 255, jnp.uint8), preprocessing('condconv_efficientnet_b0_4e'))
    >>> x.shape, round(float(x.max()), 3)
    ((224, 224, 3), 1.0)
    """
    image = jnp.asarray(image)
    _check(image, facts)
    *batch, height, width, channels = image.shape
    new_height, new_width = (facts.resize * side // min(height, width) for side in (height, width))
    x = image.astype(jnp.float32)
    for shape in ((*batch, height, new_width, channels), (*batch, new_height, new_width, channels)):
        x = jax.image.resize(x, shape, _METHODS[facts.interpolation], antialias=True)
        x = jnp.clip(jnp.floor(x + 0.5), 0, 255) if image.dtype == jnp.uint8 else jnp.clip(x, 0, 1)
    if image.dtype == jnp.uint8:
        x = x / 255
    size = facts.image_size
    top, left = round((new_height - size) / 2), round((new_width - size) / 2)
    x = x[..., top : top + size, left : left + size, :]
    lead = (1,) * (x.ndim - 1)
    mean, std = (jnp.reshape(jnp.asarray(fact, jnp.float32), (*lead, channels)) for fact in (facts.mean, facts.std))
    return (x - mean) / std


def _check(image, facts):
    if image.ndim not in (3, 4):
        raise ValueError(f'image must have shape (H, W, C) or (B, H, W, C), got {image.shape}')
    if image.dtype != jnp.uint8 and not jnp.issubdtype(image.dtype, jnp.floating):
        raise TypeError(f'image must be uint8 or floating, got {image.dtype}')
    if not len(facts.mean) == len(facts.std) == image.shape[-1]:
        raise ValueError(f'image must have {len(facts.mean)} channels, as facts.mean and .std, got {image.shape}')
    if facts.image_size > facts.resize:
        raise ValueError(f'facts.image_size must be at most facts.resize = {facts.resize}, got {facts.image_size}')
    if facts.interpolation not in _METHODS:
        raise ValueError(f'facts.interpolation must be one of {tuple(_METHODS)}, got {facts.interpolation!r}')
