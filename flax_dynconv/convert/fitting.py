"""Fitting leaves from a file to a network: what it keeps, what it drops, what is wrong and what is initialised."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from flax_dynconv.convert.classifier import in_heads
from flax_dynconv.convert.engine import expected_leaves, flatten, near, raise_all, usable
from flax_dynconv.convert.reference import BUFFERS

# Collections that a file may lack altogether: PyTorch's counters, and temperatures, which are 1 after training.
_OPTIONAL = (BUFFERS, 'temperature')


def image_shape(channels: int) -> tuple[int, ...]:
    """A batch of small images: enough for the shapes of a classification network's variables."""
    return (1, 64, 64, channels)


def network_leaves(model: nn.Module, channels: int) -> dict[str, Any]:
    """Path -> shape and dtype of every variable of a network for images of so many channels."""
    return expected_leaves(model, (image_shape(channels),), {'train': False})


def count_channels(expected: Mapping[str, Any], leaves: Mapping[str, Any], channels: int) -> int:
    """Channels of the images for which the file's first kernel was made, where it has the expected one otherwise.

    >>> spec = jax.ShapeDtypeStruct((3, 3, 3, 16), 'float32')
    >>> count_channels({'params/conv1/kernel': spec}, {'params/conv1/kernel': np.ones((3, 3, 1, 16))}, 3)
    1
    """
    for path, leaf in expected.items():
        found = np.shape(leaves.get(path))
        first = len(leaf.shape) > 2 and leaf.shape[-2] == channels and len(found) == len(leaf.shape)
        if first and found != leaf.shape and found == (*leaf.shape[:-2], found[-2], leaf.shape[-1]):
            return found[-2]
    return channels


def fit(
    leaves: Mapping[str, Any], whole: Mapping[str, Any], wanted: Mapping[str, Any], fresh: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """The `wanted` leaves but for those of the modules `fresh`, from a file that must hold those of the `whole`.

    Raises ConversionError listing everything that is unused, missing, misshapen or not finite.
    """
    known = {**wanted, **whole}
    absent = {name for name in _OPTIONAL if not any(path.startswith(f'{name}/') for path in leaves)}
    needed = [path for path in wanted if path.split('/')[0] not in absent and not in_heads(path, fresh)]
    unused = [path for path in leaves if path not in known]
    missing = [path for path in needed if path not in leaves]
    problems = [f'unused leaf {path!r}{near(path, missing or known, i)}' for i, path in enumerate(unused)]
    problems += [f'missing leaf {path!r}{near(path, unused, i)}' for i, path in enumerate(missing)]
    kept = {}
    for path, leaf in leaves.items():
        if path in known:
            floating = jnp.issubdtype(known[path].dtype, jnp.floating)
            array, complaint = usable(leaf, known[path].shape, floating)
            if complaint:
                problems.append(f'{path!r}: {complaint}')
            elif path in wanted and not in_heads(path, fresh):
                kept[path] = array
    raise_all(problems, 'the variables do not fit')
    if 'temperature' in absent:
        paths = [path for path in wanted if path.startswith('temperature/') and not in_heads(path, fresh)]
        kept |= {path: np.ones((), np.float32) for path in paths}
    return kept


def initialised(model: nn.Module, paths: list[str], channels: int, rng: jax.Array) -> dict[str, np.ndarray]:
    """These leaves as `model.init(rng, ...)` gives them; what they do not depend on is not compiled."""

    @jax.jit
    def init(rng):
        variables = model.init({'params': rng, 'dropout': rng}, jnp.zeros(image_shape(channels)), train=False)
        return {path: leaf for path, leaf in flatten(variables).items() if path in paths}

    counters = {path: np.zeros((), np.int64) for path in paths if path.startswith(f'{BUFFERS}/')}
    return counters | jax.device_get(init(rng))
