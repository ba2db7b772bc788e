"""`split_parameters`: one generated vector per instance as the weights and biases of its network."""

import itertools
import math
from collections.abc import Sequence

import jax

from flax_dynconv.ops._checks import check_floating, is_int


def split_parameters(
    vector: jax.Array, channels: Sequence[int] = (10, 8, 8, 1)
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Weights and biases of a network of 1x1 convolutions out of one vector, in CondInst's layout.

    vector = [w_0 | w_1 | ... | b_0 | b_1 | ...], each w_l row-major with shape (channels[l + 1], channels[l])

    Args:
      vector: (..., G), floating; G = 169 for the default channels.
      channels: input channels of every layer, then the output channels of the last. (8, 8, 8, 1) is CondInst without
        relative coordinates (G = 153), (18, 8, 8, 1) BoxInst (G = 233).

    Returns:
      weights, each (..., channels[l], channels[l + 1]), input channels first as in Flax, and biases, each
      (..., channels[l + 1]): what `instance_head` takes.

    Raises:
      TypeError: the vector is not floating.
      ValueError: channels are not at least two positive ints, or G is not the number of parameters.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax_dynconv.ops.instance_head import split_parameters
      >>> weights, biases = split_parameters(jnp.ones((2, 100, 169)))
      >>> [w.shape for w in weights], [b.shape for b in biases]
      ([(2, 100, 10, 8), (2, 100, 8, 8), (2, 100, 8, 1)], [(2, 100, 8), (2, 100, 8), (2, 100, 1)])

    Reference: CondInst (arXiv:2003.05664), `parse_dynamic_params` of AdelaiDet.
    """
    check_floating('vector', vector)
    if not isinstance(channels, Sequence) or len(channels) < 2 or not all(is_int(c) and c > 0 for c in channels):
        raise ValueError(f'channels: expected at least two ints >= 1, got {channels!r}')
    layers = list(itertools.pairwise(channels))
    shapes = [(o, i) for i, o in layers] + [(o,) for _, o in layers]
    sizes = [math.prod(shape) for shape in shapes]
    wanted = sum(sizes)
    if vector.ndim < 1 or vector.shape[-1] != wanted:
        raise ValueError(
            f'vector: expected shape (..., G) with G = {wanted} parameters for channels {tuple(channels)}, '
            f'got shape {vector.shape}'
        )
    ends = list(itertools.accumulate(sizes))
    parts = [
        vector[..., end - size : end].reshape(*vector.shape[:-1], *shape)
        for end, size, shape in zip(ends, sizes, shapes, strict=True)
    ]
    return [w.mT for w in parts[: len(layers)]], parts[len(layers) :]
