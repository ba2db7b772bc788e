"""The seams of a network: giving a constructor only those settings that it knows and that nobody has chosen yet."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

ModuleDef = Callable[..., Any]


def offer(constructor: ModuleDef, **settings: Any) -> ModuleDef:
    """`constructor` with those `settings` bound that it has as arguments and that no partial has set before.

    A network passes its mode on this way: `use_running_average` reaches `nn.BatchNorm` and not `nn.GroupNorm`, and a
    norm that somebody froze with `partial(nn.BatchNorm, use_running_average=True)` stays frozen.

    >>> from flax import linen as nn
    >>> offer(nn.BatchNorm, use_running_average=True, dtype=None).keywords
    {'use_running_average': True, 'dtype': None}
    >>> offer(nn.GroupNorm, use_running_average=True, dtype=None).keywords
    {'dtype': None}
    """
    known = inspect.signature(constructor).parameters
    chosen = _chosen(constructor)
    return functools.partial(constructor, **{k: v for k, v in settings.items() if k in known and k not in chosen})


def _chosen(constructor):
    """Names of the arguments that nested partials have already set."""
    names = set()
    while isinstance(constructor, functools.partial):
        names |= set(constructor.keywords)
        constructor = constructor.func
    return names
