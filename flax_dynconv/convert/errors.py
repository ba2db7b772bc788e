"""The exceptions of the bridge and the sentence that suggests a close name."""

import difflib
from collections.abc import Iterable


class ConversionError(ValueError):
    """Weights, names or arguments that do not fit; the message lists everything that is wrong."""


class CaseError(ValueError):
    """A reference case or a file of weights that cannot be used; the message says which file and why."""


def suggestion(name: str, known: Iterable[str], count: int = 3) -> str:
    """'; did you mean ...?' with the known names closest to `name`, in any case of letters, or ''.

    >>> suggestion('odconv.OdConv2d', ['odconv.ODConv2d', 'timm.CondConv2d'])
    "; did you mean 'odconv.ODConv2d'?"
    """
    close = nearest(name, known, count)
    return '; did you mean ' + ' or '.join(map(repr, close)) + '?' if close else ''


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.6) -> list[str]:
    """The known names closest to `name`, compared whole and by their last dotted part, ignoring case."""
    lower = name.lower()
    tail = lower.rsplit('.', 1)[-1]
    scores = []
    for candidate in known:
        other = candidate.lower()
        score = difflib.SequenceMatcher(None, lower, other).ratio()
        if '.' not in lower:
            score = max(score, difflib.SequenceMatcher(None, tail, other.rsplit('.', 1)[-1]).ratio())
        scores.append((score, candidate))
    scores.sort(key=lambda pair: (-pair[0], pair[1]))
    # Far behind the best one is no suggestion.
    return [candidate for score, candidate in scores[:count] if score >= max(cutoff, scores[0][0] - 0.1)]
