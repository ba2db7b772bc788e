"""What a CondInst returns: the maps of its head at every level, and the features that its mask networks look at."""

from typing import NamedTuple

import jax


class InstanceMaps(NamedTuple):
    """Maps of B images, finest level first; h, w are the sizes of a level.

    Attributes:
      logits: per level (B, h, w, classes), before the sigmoid.
      boxes: per level (B, h, w, 4): distances left, top, right, bottom from the location to the sides of its box, in
        units of the level's stride, not negative.
      centerness: per level (B, h, w, 1), before the sigmoid.
      parameters: per level (B, h, w, G): a mask network for every location, see `ops.split_parameters`.
      mask_features: (B, H / s, W / s, Cm), s the finest stride.
      semantic: (B, H / s, W / s, classes), before the sigmoid; None where there is no such head.

    >>> InstanceMaps._fields
    ('logits', 'boxes', 'centerness', 'parameters', 'mask_features', 'semantic')
    """

    logits: tuple[jax.Array, ...]
    boxes: tuple[jax.Array, ...]
    centerness: tuple[jax.Array, ...]
    parameters: tuple[jax.Array, ...]
    mask_features: jax.Array
    semantic: jax.Array | None = None
