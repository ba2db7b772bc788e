"""`explain`: what a call would run on every platform, why, and what each form is predicted to take."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping

from flax_dynconv.ops.choice import choosing, measuring
from flax_dynconv.ops.choice.autotune import Autotune
from flax_dynconv.ops.choice.candidates import PLATFORMS
from flax_dynconv.ops.instance_head import api as instance_head
from flax_dynconv.ops.mixture_conv import api as mixture_conv
from flax_dynconv.ops.per_position_conv import api as per_position_conv
from flax_dynconv.ops.per_sample_conv import api as per_sample_conv

_PREPARE = {
    instance_head.instance_head: instance_head.prepare,
    mixture_conv.mixture_conv: mixture_conv.prepare,
    per_position_conv.per_position_conv: per_position_conv.prepare,
    per_sample_conv.per_sample_conv: per_sample_conv.prepare,
}


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `explain` tells; `str` of it is a table. The platform 'default' is any but CPU and TPU, thus a GPU.

    operator: its name. chosen: form by platform, of the forward pass. backward: that of the gradients, another one at
    most on CPU. reasons: a sentence by platform. forward, gradient: milliseconds by platform and form, of the forward
    pass and of it with the gradients of all operands: measured where the file of an `Autotune` has them (gradient
    only), else predicted. declines: the reason by form, for those that cannot do the case. here: the form of the
    forward pass on the default backend of this process.
    """

    operator: str
    chosen: Mapping[str, str]
    reasons: Mapping[str, str]
    forward: Mapping[str, Mapping[str, float]]
    gradient: Mapping[str, Mapping[str, float]]
    declines: Mapping[str, str]
    backward: Mapping[str, str]

    @property
    def here(self) -> str:
        """The form on the default backend of this process."""
        return self.chosen[measuring.platform()]

    def __str__(self):
        lines = [self.operator]
        for platform, form in self.chosen.items():
            other = '' if self.backward[platform] == form else f', gradients by {self.backward[platform]}'
            lines.append(f'  {platform}: {form}{other}: {self.reasons[platform]}')
        head = [f'{p} {direction}' for p in self.chosen for direction in ('forward', 'gradient')]
        rows = [['predicted ms', *head]]
        for form in self.forward[PLATFORMS[0]]:
            times = [t[p][form] for p in self.chosen for t in (self.forward, self.gradient)]
            rows.append([form, *(f'{ms:.3g}' for ms in times)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ['  ' + '  '.join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        return '\n'.join(lines + [f'  {form} declines: {reason}' for form, reason in self.declines.items()])


def explain(operator: Callable, *args, **kwargs) -> Explanation:
    """What `operator(*args, **kwargs)` would run and why, without running or compiling anything.

    predicted seconds of a form = sum over kinds of work of amount (from static shapes) * seconds per unit (by platform)

    Args:
      operator: one of the operators of `ops`.
      *args, **kwargs: of the call; arrays may be `jax.ShapeDtypeStruct`s, with a symbolic batch too (counted as 8).

    Returns:
      An `Explanation`, in milliseconds; print it for a table. Constants of CPUs are measured, those of TPUs and GPUs
      are not (`ops/choice/constants`).

    Raises:
      TypeError: the operator is not one of `ops`, or the arguments are not its own.
      Whatever the operator raises for its arguments.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax_dynconv import ops
      >>> x, kernel = jnp.ones((2, 8, 8, 6)), jnp.ones((2, 3, 3, 1, 6))
      >>> told = ops.explain(ops.per_sample_conv, x, kernel, feature_group_count=6)
      >>> told.chosen['cpu'], sorted(told.forward['cpu'])
      ('taps', ['grouped', 'loop', 'patches', 'reference', 'taps'])

    Reference: none.
    """
    case, implementation = case_of(operator, *args, **kwargs)
    declines = {form: reason for form in case.forms if (reason := case.declines(form))}
    able = [form for form in case.forms if form not in declines]
    forward, gradient = (
        {p: {form: 1e3 * choosing.seconds(case.work(form)[i], p) for form in able} for p in PLATFORMS} for i in (0, 1)
    )
    if isinstance(implementation, str):
        chosen, reasons = dict.fromkeys(PLATFORMS, implementation), dict.fromkeys(PLATFORMS, 'asked for by name')
        return Explanation(case.operator, chosen, reasons, forward, gradient, declines, chosen)
    chosen, backward = passes_of(case)
    reasons = {p: _reason(case, p, gradient[p], backward[p] != chosen[p]) for p in PLATFORMS}
    if isinstance(implementation, Autotune):
        _tell_measured(case, implementation, chosen, backward, reasons, gradient)
    return Explanation(case.operator, chosen, reasons, forward, gradient, declines, backward)


def passes_of(case):
    """The forms of the forward and of the backward pass, by platform."""
    passes = ('forward', 'backward') if case.passes_apart else ('both', 'both')
    return tuple(choosing.chosen(case, passes=each) for each in passes)


def case_of(operator: Callable, *args, **kwargs):
    """The static case of `operator(*args, **kwargs)`, and its `implementation`; the operator's errors."""
    if operator not in _PREPARE:
        names = sorted(f'ops.{known.__name__}' for known in _PREPARE)
        raise TypeError(f'operator: expected one of {", ".join(names)}, got {operator!r}')
    bound = inspect.signature(operator).bind(*args, **kwargs)
    bound.apply_defaults()
    return _PREPARE[operator](**bound.arguments).case, bound.arguments['implementation']


def _reason(case, platform, milliseconds, apart):
    names = sorted(choosing.candidates(case, platform), key=milliseconds.get)
    avoided = [f'{n} is not taken ({why})' for n in case.forms if (why := choosing.avoided(case, n, platform))]
    if len(names) == 1:
        told = 'the only candidate'
    elif apart:
        told = f'the least predicted time of each pass; of both by one form it would be {names[0]}'
    else:
        told = f'the least predicted time with its gradient, then {names[1]}'
        told += f' with {milliseconds[names[1]] / max(milliseconds[names[0]], 1e-12):.2f} times as much'
    return '; '.join([told, *avoided])


def _tell_measured(case, autotune, chosen, backward, reasons, gradient):
    """Replace what the file of measurements knows."""
    platform = measuring.platform()
    names = choosing.candidates(case, platform)
    if len(names) == 1 or not case.known:
        return  # Nothing is measured.
    entry = autotune.entry(case, names)
    if entry is None:
        reasons[platform] += f'; a call measures it first, for {autotune.path}'
        return
    chosen[platform] = backward[platform] = min(entry, key=entry.get)
    reasons[platform] = f'the least time with its gradient in {autotune.path}, where candidates are measured'
    gradient[platform] |= {form: 1e3 * seconds for form, seconds in entry.items()}
