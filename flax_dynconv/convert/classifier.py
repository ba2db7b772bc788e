"""The classifier of a network as that part of its variables whose shapes follow the number of classes."""

from collections.abc import Mapping
from typing import Any

import jax

from flax_dynconv.convert.errors import ConversionError

# A prime that no other dimension has: what is this long in a tree of shapes is as long as there are classes.
CLASSES = 7919


def heads(expected: Mapping[str, Any]) -> tuple[str, ...]:
    """Modules that hold a leaf with `CLASSES` in its shape, as 'module/.../module'.

    >>> heads({'params/fc/kernel': jax.ShapeDtypeStruct((64, CLASSES), 'float32')})
    ('fc',)
    """
    paths = (path for path, leaf in expected.items() if CLASSES in leaf.shape)
    return tuple(dict.fromkeys('/'.join(path.split('/')[1:-1]) for path in paths))


def in_heads(path: str, modules: tuple[str, ...]) -> bool:
    """Does a leaf lie in one of these modules?

    >>> in_heads('params/fc/routing/kernel', ('fc',)), in_heads('params/fc1/kernel', ('fc',))
    (True, False)
    """
    inside = path.split('/', 1)[1]
    return any(inside.startswith(f'{module}/') for module in modules)


def count_classes(expected: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The number of classes for which the shapes in a file are the expected ones; 0 where it has no classifier.

    expected: name -> shape with `CLASSES` in it. Raises ConversionError where two arrays say different numbers.
    """
    counts = {}
    for name, shape in expected.items():
        if name in shapes and len(shapes[name]) == len(shape):
            counts |= {shapes[name][axis]: name for axis, size in enumerate(shape) if size == CLASSES}
    if len(counts) > 1:
        said = ', '.join(f'{name!r} says {count}' for count, name in sorted(counts.items()))
        raise ConversionError(f"the classifier's arrays disagree on the number of classes: {said}")
    return next(iter(counts), 0)


def with_classes(expected: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The tree of shapes for a number of classes; without the classifier for 0."""
    if not classes:
        modules = heads(expected)
        return {path: leaf for path, leaf in expected.items() if not in_heads(path, modules)}
    return {path: _resized(leaf, classes) if CLASSES in leaf.shape else leaf for path, leaf in expected.items()}


def _resized(leaf, classes):
    return jax.ShapeDtypeStruct(tuple(classes if size == CLASSES else size for size in leaf.shape), leaf.dtype)
