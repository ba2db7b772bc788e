"""Fields that networks which generate filters share: sizes of filters, widths."""

import numbers
from collections.abc import Sequence

from flax_dynconv.ops._checks import are_odd, is_int


def square(size: int | Sequence[int]) -> tuple[int, ...]:
    """A `filter_size` as a tuple, an int as a square; ValueError unless it is one or two odd ints.

    >>> square(9), square((1, 13))
    ((9, 9), (1, 13))
    """
    sizes = (size, size) if is_int(size) else size
    if not are_odd(sizes) or len(sizes) != 2:
        raise ValueError(f'filter_size: expected an odd int >= 1 or two of them, got {size!r}')
    return tuple(int(k) for k in sizes)


def widened(features: Sequence[int], width: float) -> tuple[int, ...]:
    """Numbers of channels times `width`, rounded, at least 1; ValueError for a width that is no number > 0.

    >>> widened((32, 64), 0.25)
    (8, 16)
    """
    number = isinstance(width, numbers.Real) and not isinstance(width, bool)
    if not number or not 0 < width < float('inf'):
        raise ValueError(f'width: expected a number > 0, got {width!r}')
    return tuple(max(1, round(count * width)) for count in features)
