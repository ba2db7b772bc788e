"""Medians, quartiles, geometric means."""

import math
import statistics


def median(values) -> float:
    """The median."""
    return statistics.median(values)


def quartiles(values) -> tuple[float, float] | None:
    """First and third quartile; None for less than three values, which have no spread worth a name.

    >>> quartiles([1, 2, 3, 4, 5])
    (2.0, 4.0)
    """
    if len(values) < 3:
        return None
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return low, high


def geometric_mean(values) -> float:
    """The geometric mean of positive numbers; nan for none.

    >>> geometric_mean([1, 4])
    2.0
    """
    values = list(values)
    if math.inf in values:
        return math.inf
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan
