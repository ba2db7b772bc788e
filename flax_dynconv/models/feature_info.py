"""Strides and channels of the maps that a network returns with `features_only=True`, for whoever builds on them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from flax_dynconv.models.network import Network


class FeatureInfo(NamedTuple):
    """One map: pixels of the image per pixel of the map, and its channels."""

    stride: int
    channels: int


def feature_info(model, image_size=224, in_channels=None):
    """The `FeatureInfo` of each map that `model.clone(features_only=True)` returns, finest first.

    `model` is a `Network`, with its classifier or without; `in_channels=None` is what it expects, else 3. Shapes
    alone are computed, for a square image of `image_size` pixels.

    Raises TypeError for a model that is no `Network`, ValueError for what the network refuses.

    >>> from flax_dynconv.models.registry import create_model
    >>> [tuple(info) for info in feature_info(create_model('odconv_resnet18_4x', output_stride=16))]
    [(2, 64), (4, 64), (8, 128), (16, 256), (16, 512)]
    """
    if not isinstance(model, Network):
        raise TypeError(f'model must be a Network, got {type(model).__name__}')
    if in_channels is None:
        in_channels = 3 if model.in_channels is None else model.in_channels
    model = model.clone(features_only=True)
    image = jax.ShapeDtypeStruct((1, image_size, image_size, in_channels), jnp.float32)
    maps, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
    return tuple(FeatureInfo(stride, y.shape[-1]) for stride, y in zip(model.feature_strides, maps, strict=True))
