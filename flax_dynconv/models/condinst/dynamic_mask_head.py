"""CondInst's mask head in AdelaiDet's layout: the instances of all images in one row."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models.condinst.locations import SIZES_OF_INTEREST
from flax_dynconv.models.condinst.masks import instance_masks
from flax_dynconv.ops import split_parameters
from flax_dynconv.ops._checks import check_rank


class DynamicMaskHead(nn.Module):
    """N networks, each applied to its own features: logits[n] = network_n(features[n]). It has no variables.

    For PyTorch's calls. Images with equally many instances each are `instance_masks`, which copies no features.

    Attributes:
      channels: of the layers of a network, inputs first, coordinates among them; see `ops.split_parameters`.
      relative_coordinates: whether the first two inputs are coordinates, which `masks` then makes.
      stride, out_stride: pixels of the image per position of the features, and of the result of `masks`.
      sizes_of_interest: per level, in pixels, what relative coordinates are divided by.
      precision: as in `nn.Conv`.

    Raises ValueError for shapes that do not fit.

    >>> head = DynamicMaskHead()
    >>> head.apply({}, jnp.ones((5, 169)), jnp.ones((5, 6, 7, 10))).shape
    (5, 6, 7, 1)

    Source: CondInst (Tian et al., arXiv:2003.05664), AdelaiDet's `DynamicMaskHead`.
    """

    channels: tuple[int, ...] = (10, 8, 8, 1)
    relative_coordinates: bool = True
    stride: int = 8
    out_stride: int = 4
    sizes_of_interest: tuple[int, ...] = SIZES_OF_INTEREST
    precision: Any = None

    def __call__(self, parameters: jax.Array, features: jax.Array) -> jax.Array:
        """Networks (N, G) and their features (N, H, W, channels[0]) to logits (N, H, W, 1)."""
        nowhere = jnp.zeros((len(parameters), 1, 2)), jnp.ones((len(parameters), 1))
        return self._logits(parameters, features, *nowhere, coordinates=False, upsample=1)

    def masks(
        self,
        parameters: jax.Array,
        mask_features: jax.Array,
        locations: jax.Array,
        levels: jax.Array,
        images: jax.Array,
    ) -> jax.Array:
        """Logits (N, f * H, f * W, 1), f = stride / out_stride, of networks on the features of the images.

        parameters (N, G), mask_features (B, H, W, Cm), locations (N, 2), x before y, in pixels; `levels` and `images`
        (N,) are the numbers of the level and of the image of each instance.
        """
        if self.out_stride < 1 or self.stride % self.out_stride:
            raise ValueError(f'out_stride: expected a divisor of stride = {self.stride}, got {self.out_stride}')
        scales = jnp.asarray(self.sizes_of_interest, locations.dtype)[levels.astype(jnp.int32)]
        return self._logits(
            parameters,
            mask_features[images.astype(jnp.int32)],
            locations[:, None],
            scales[:, None],
            coordinates=self.relative_coordinates,
            upsample=self.stride // self.out_stride,
        )

    def split(self, parameters: jax.Array) -> list[jax.Array]:
        """Weights and bias of each layer in turn, as arguments of PyTorch's convolutions with a group per instance."""
        found = []
        for weight, bias in zip(*split_parameters(parameters, self.channels), strict=True):
            found += [weight.mT.reshape(-1, weight.shape[1], 1, 1), bias.ravel()]
        return found

    def _logits(self, parameters, features, locations, scales, *, coordinates, upsample):
        check_rank('parameters', parameters, (2,), '(N, G)')
        logits = instance_masks(
            features,
            parameters[:, None],
            locations,
            scales,
            channels=self.channels,
            stride=self.stride,
            upsample=upsample,
            relative_coordinates=coordinates,
            precision=self.precision,
        )
        return jnp.moveaxis(logits, 1, -1)
