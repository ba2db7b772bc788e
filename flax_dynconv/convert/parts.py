"""What weights say of the network that they belong to: which of its optional parts it has."""

import re
from collections.abc import Mapping
from typing import Any

from flax_dynconv.convert.copies import tables
from flax_dynconv.convert.reference import Reference


def has_part(weights: Mapping[Any, Any], part: str) -> bool:
    """Does any key in a checkpoint, or any path of Flax leaves, lead into the submodule `part`?

    >>> has_part({'state_dict': {'module.head.weight': 0}}, 'head'), has_part({'params/ahead/kernel': 0}, 'head')
    (True, False)
    """
    inside = re.compile(rf'(^|[./]){re.escape(part)}[./]')
    return any(isinstance(key, str) and inside.search(key) for _, table in tables(weights) for key in table)


def inferred(reference: Reference, arguments: Mapping[str, Any], weights: Any) -> dict[str, Any]:
    """The arguments, where those that the reference infers and nobody gave are what the weights say."""
    found = {name: part for name, part in reference.inferred.items() if arguments[name] is None}
    if not isinstance(weights, Mapping):
        return dict(arguments)
    return {**arguments, **{name: has_part(weights, part) for name, part in found.items()}}
