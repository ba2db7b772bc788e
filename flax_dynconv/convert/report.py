"""The result of verifying a reference case: differences, bounds and the first module that differs."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One array against the reference's: max|a - b| and the bound tolerance * max(1, max|b|)."""

    name: str
    difference: float
    bound: float
    shape: tuple[int, ...]
    note: str = ''

    @property
    def ok(self) -> bool:
        """True if the difference is within the bound."""
        return self.difference <= self.bound


def compare(name: str, actual: Any, expected: np.ndarray, tolerance: float) -> Comparison:
    """max|actual - expected| in float64 against tolerance * max(1, max|expected|).

    The difference is infinite where the shapes differ or a value is not finite. Integers must be equal.

    >>> compare('output/0', np.ones(3), np.full(3, 2.0), 1e-5).bound
    2e-05
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    reference = expected.astype(np.float64)
    scale = max(1.0, float(np.abs(reference).max(initial=0.0)))
    bound = 0.0 if expected.dtype.kind in 'iub' else tolerance * scale
    if actual.shape != expected.shape:
        note = f'shape {actual.shape}, expected {expected.shape}'
        return Comparison(name, float('inf'), bound, expected.shape, note)
    difference = float(np.abs(actual.astype(np.float64) - reference).max(initial=0.0))
    if not np.isfinite(difference):
        return Comparison(name, float('inf'), bound, expected.shape, 'values that are NaN or infinite')
    return Comparison(name, difference, bound, expected.shape)


@dataclasses.dataclass(frozen=True)
class Report:
    """What `verify` found. `ok` means that all outputs and all buffers after training are within their bounds.

    activations: in the order in which the Flax module computes them; they explain, and do not decide `ok`.
    skipped: activations of the case that have no counterpart in the Flax module.
    """

    reference: str
    dtype: str
    tolerance: float
    train: bool
    temperature: float
    outputs: tuple[Comparison, ...]
    state_after: tuple[Comparison, ...] = ()
    activations: tuple[Comparison, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if everything that decides is within its bound."""
        return all(c.ok for c in (*self.outputs, *self.state_after))

    @property
    def first_difference(self) -> str | None:
        """The first module, in the order of computation, whose activation was given and differs, or None."""
        return next((c.name.removeprefix('activation/') for c in self.activations if not c.ok), None)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values that JSON can hold (an infinite difference becomes null)."""
        settings = {name: getattr(self, name) for name in ('reference', 'dtype', 'tolerance', 'train', 'temperature')}
        groups = {name: [_plain(c) for c in getattr(self, name)] for name in ('outputs', 'state_after', 'activations')}
        return {
            'ok': self.ok,
            **settings,
            **groups,
            'first_difference': self.first_difference,
            'skipped': list(self.skipped),
        }

    def __str__(self) -> str:
        mode = 'training' if self.train else 'evaluation'
        lines = [f'{self.reference}: {mode} mode, {self.dtype}, temperature {self.temperature:g}']
        rows = (*self.outputs, *self.state_after, *self.activations)
        width = max(len(c.name) for c in rows)
        for c in rows:
            verdict = 'within ' if c.ok else 'OUTSIDE'
            note = f'  ({c.note})' if c.note else ''
            lines.append(f'  {verdict}  {c.name:<{width}}  max|a-b| {c.difference:.3e}  bound {c.bound:.3e}{note}')
        if self.skipped:
            lines.append(f'  not compared, no such Flax module: {", ".join(self.skipped)}')
        if self.first_difference:
            lines.append(f'  first module that differs: {self.first_difference}')
        return '\n'.join([*lines, 'within the bounds' if self.ok else 'OUTSIDE the bounds'])


def _plain(comparison):
    finite = np.isfinite(comparison.difference)
    return {
        'name': comparison.name,
        'difference': comparison.difference if finite else None,
        'bound': comparison.bound,
        'ok': comparison.ok,
        'shape': list(comparison.shape),
        'note': comparison.note,
    }
