"""Fitting the constants of a platform to measured times, and how good the choices are that follow from them."""

import dataclasses
import math

import numpy as np

from flax_dynconv.bench import cells, statistics
from flax_dynconv.bench.program import FORWARD, GRADIENT
from flax_dynconv.ops.choice import choosing
from flax_dynconv.ops.choice.work import KINDS, LEAST

# How often the weights are adapted to what was predicted before: relative errors become logarithmic ones.
_ROUNDS = 50
_SWEEPS = 300
# How much the constants of before count, against one for every measured time: what hardly any time depends on stays.
# One that was fitted to nothing counts as the least that is plausible, so that the next fit may raise it again.
_PRIOR = 0.002


@dataclasses.dataclass(frozen=True)
class Measured:
    """One form of one call: its work and its time."""

    cell: str
    batch: int
    direction: str
    form: str
    work: dict
    seconds: float
    candidate: bool
    apart: bool = False


def measured(found, platform: str) -> list[Measured]:
    """What a run of the suite 'ops' measured of the forms of all operators."""
    taken, known = [], cells.all_cells('ops')
    for facts in found.cells:
        name, batch = facts['cell'], facts['batch']
        if name not in known:
            continue
        case = known[name].case(batch)
        candidates = choosing.candidates(case, platform)
        for direction in (FORWARD, GRADIENT):
            programs = {form: form for form in case.forms}
            if facts.get('backward', facts.get('form')) == facts.get('form'):
                programs[facts.get('form')] = 'chosen'
            for form in case.forms:
                row = found.row(name, batch, direction, form) or found.row(name, batch, direction, programs[form]) or {}
                if 'median' in row and case.declines(form) is None:
                    work = case.work(form)[direction == GRADIENT]
                    row = name, batch, direction, form, work, row['median'], form in candidates, case.passes_apart
                    taken.append(Measured(*row))
    return taken


def fit(rows: list[Measured], start: dict[str, float]) -> dict[str, float]:
    """Seconds per unit of every kind: non-negative, the least squares of the logarithms of predicted / measured.

    A form that is n times slower than the best of its call counts 1 / n.
    """
    best = {}
    for row in rows:
        key = row.cell, row.batch, row.direction
        best[key] = min(best.get(key, math.inf), row.seconds)
    weight = np.array([best[row.cell, row.batch, row.direction] / row.seconds for row in rows])
    weight *= np.array([1.0 if row.direction == GRADIENT else 0.5 for row in rows])
    seconds = np.array([row.seconds for row in rows])
    amounts = np.array([[row.work.get(kind, 0) for kind in KINDS] for row in rows], float)
    scale = amounts.max(0)
    known = scale > 0
    amounts = amounts[:, known] / scale[known]
    before = np.array([max(start[kind], LEAST[kind]) for kind in KINDS])[known] * scale[known]
    constants = before
    for _ in range(_ROUNDS):
        predicted = np.maximum(amounts @ constants, 1e-9)
        root = np.sqrt(weight / (predicted * seconds))
        prior = np.diag(math.sqrt(_PRIOR) / before)
        matrix = np.concatenate([amounts * root[:, None], prior])
        constants = _non_negative(matrix, np.concatenate([seconds * root, prior @ before]), constants)
    fitted = dict(zip(np.array(KINDS)[known], constants / scale[known], strict=True))
    return {kind: float(fitted.get(kind, start[kind])) for kind in KINDS}


def _non_negative(matrix, target, start):
    """The least squares of matrix x - target over x >= 0, coordinate by coordinate."""
    square, x = matrix.T @ matrix, start.copy()
    product = matrix.T @ target
    for _ in range(_SWEEPS):
        for i in range(len(x)):
            if square[i, i] > 0:
                x[i] = max(0.0, x[i] + (product[i] - square[i] @ x) / square[i, i])
    return x


def regrets(rows: list[Measured], constants: dict[str, float], direction: str = GRADIENT) -> list[tuple]:
    """(cell, batch, what is chosen, what is fastest, times of the first over the second), the worst first.

    Where the passes may be those of two forms each is chosen by itself, else one form by its predicted gradient.
    `direction` says of which times. What is fastest is one form for both passes.
    """
    calls = {}
    for row in rows:
        if row.candidate:
            calls.setdefault((row.cell, row.batch), {}).setdefault(row.form, {})[row.direction] = row
    found = []
    for (cell, batch), forms in calls.items():
        forms = [told for told in forms.values() if len(told) == 2]
        if forms:
            found.append((cell, batch, *_regret(forms, constants, direction)))
    return sorted(found, key=lambda item: -item[-1])


def _regret(forms, constants, direction):
    def prediction(direction):
        return lambda told: predicted(told[direction].work, constants)

    fastest = min(forms, key=lambda told: told[direction].seconds)[direction]
    first = last = min(forms, key=prediction(GRADIENT))
    if first[FORWARD].apart:
        first = min(forms, key=prediction(FORWARD))
        last = min(forms, key=lambda told: prediction(GRADIENT)(told) - prediction(FORWARD)(told))
    if direction == FORWARD:
        return first[FORWARD].form, fastest.form, first[FORWARD].seconds / fastest.seconds
    names = ', '.join(dict.fromkeys([first[FORWARD].form, last[FORWARD].form]))
    seconds = last[GRADIENT].seconds + first[FORWARD].seconds - last[FORWARD].seconds
    return names, fastest.form, seconds / fastest.seconds


def predicted(work, constants) -> float:
    """Seconds of some work."""
    return sum(amount * constants[kind] for kind, amount in work.items())


def summary(found: list[tuple]) -> str:
    """One line."""
    values = [item[-1] for item in found]
    good = sum(value <= 1.15 for value in values)
    return (
        f'{len(values)} calls: the choice takes {statistics.geometric_mean(values):.3f} times as long as the fastest '
        f'candidate in geometric mean, {max(values, default=math.nan):.2f} at worst; {good} are within 15 %'
    )


def table(found: list[tuple]) -> str:
    """The choices that are not the fastest candidates, the worst first."""
    lines = ['| cell | B | choice | fastest | times |', '| --- | --- | --- | --- | --- |']
    return '\n'.join(lines + [f'| {c} | {b} | {n} | {f} | {t:.2f} |' for c, b, n, f, t in found if t > 1.05])


def errors(rows: list[Measured], constants: dict[str, float]) -> str:
    """By form: how far predictions are off, as factors (geometric mean of predicted / measured, and its spread)."""
    logs = {}
    for row in rows:
        logs.setdefault((row.form, row.direction), []).append(math.log(predicted(row.work, constants) / row.seconds))
    lines = ['| form | direction | calls | predicted / measured | spread |', '| --- | --- | --- | --- | --- |']
    for (form, direction), values in sorted(logs.items()):
        mean, spread = math.exp(np.mean(values)), math.exp(np.std(values))
        lines.append(f'| {form} | {direction} | {len(values)} | {mean:.2f} | {spread:.2f} |')
    return '\n'.join(lines)


def module(constants: dict[str, float], header: dict) -> str:
    """The text of the file of constants for the machine of a run."""
    machine, jax = header['machine'], header['jax']
    place = f'{machine["processor"]}, {machine["cores"]} cores' if jax['platform'] == 'cpu' else jax['device']
    where = f'{place}, JAX {jax["version"]}, {header["dtype"]}.'
    entries = ''.join(f'    {kind!r}: {constants[kind]:.3g},\n' for kind in KINDS)
    return f'''"""Seconds for each unit of work, measured on this machine.

{where}
Made by `flax-dynconv bench --suite ops --json RESULTS` and `flax-dynconv bench --calibrate RESULTS`.
"""

SECONDS = {{
{entries}}}
'''


def report(runs: list) -> tuple[str, str]:
    """(the file of constants, how good its choices are) for the results of one or more runs on one machine."""
    platforms = {found.header['jax']['platform'] for found in runs}
    if len(platforms) > 1:
        raise ValueError(f'--calibrate: expected results of one platform, got {sorted(platforms)}')
    platform = platforms.pop()
    platform = platform if platform in choosing.CONSTANTS else 'default'
    rows = [row for found in runs for row in measured(found, platform)]
    if not rows:
        raise ValueError('--calibrate: expected results of the suite ops, got no times of any form')
    before = choosing.CONSTANTS[platform]
    constants = fit(rows, before)
    parts = ['## Choices by the new constants']
    for direction, title in ((GRADIENT, 'Forward and gradient'), (FORWARD, 'Forward')):
        found = regrets(rows, constants, direction)
        parts += [f'{title}: {summary(found)}', table(found)]
    parts += [
        f'By the constants of before: {summary(regrets(rows, before))}',
        '## Predictions',
        errors(rows, constants),
    ]
    return module(constants, runs[-1].header), '\n\n'.join(parts)
