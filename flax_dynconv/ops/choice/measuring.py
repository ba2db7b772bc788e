"""Measuring forms while a call is traced: in a thread, where nothing is traced and no mesh is in context."""

import importlib
import os
import statistics
import threading
import time

import jax
import numpy as np

from flax_dynconv.ops.choice.case import Case

# Rounds in which every form runs once; all in turns, so that a disturbance meets them alike.
ROUNDS = 7
# A form whose second run takes so many times as long as the fastest's is not run again.
HOPELESS = 3


def platform() -> str:
    """The key of the default backend among the platforms of a choice."""
    backend = jax.default_backend()
    return backend if backend in ('cpu', 'tpu') else 'default'


def several_processes() -> bool:
    """Whether other processes compile the same program."""
    return jax.process_count() > 1


def key(case: Case) -> str:
    """Everything that a measurement depends on, as far as it is known."""
    kind = jax.devices()[0].device_kind
    if jax.default_backend() == 'cpu':
        kind += f', {len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()} cores'
    return f'{case.operator} | {kind} | jax {jax.__version__} | {case}'


def measure(case: Case, names: list[str]) -> dict[str, float]:
    """Median seconds of forward and gradient by form."""
    outcome, wide = {}, jax.config.jax_enable_x64

    def run():
        try:
            with jax.enable_x64(wide):
                outcome['seconds'] = _seconds(_programs(case, names))
        except BaseException as error:
            outcome['error'] = error

    # A new thread has no trace, no mesh and no other context of the caller's.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if 'error' in outcome:
        raise outcome['error']
    return outcome['seconds']


def _programs(case, names):
    """{form: a function that runs it once}, compiled."""
    operator, options = getattr(importlib.import_module('flax_dynconv.ops'), case.operator), case.options()
    generator = np.random.default_rng(0)

    def draw(shape):
        return jax.numpy.asarray(generator.standard_normal(shape), case.dtype)

    arrays = jax.tree.map(draw, case.shapes(), is_leaf=_is_shape)
    programs = {}
    for name in names:

        def call(arrays, name=name):
            return operator(**arrays, **options, implementation=name)

        def step(arrays, g, call=call):
            y, pull_back = jax.vjp(call, arrays)
            return y, pull_back(g)

        g = draw(jax.eval_shape(call, arrays).shape)
        program = jax.jit(step).lower(arrays, g).compile()
        programs[name] = lambda program=program, g=g: jax.block_until_ready(program(arrays, g))
    return programs


def _is_shape(value):
    return isinstance(value, tuple) and all(isinstance(n, int) for n in value)


def _seconds(programs):
    first = {}
    for name, run in programs.items():
        run()
        first[name] = _time(run)
    due = [name for name, seconds in first.items() if seconds < HOPELESS * min(first.values())]
    samples = {name: [seconds] for name, seconds in first.items()}
    for _ in range(ROUNDS if len(due) > 1 else 0):
        for name in due:
            samples[name].append(_time(programs[name]))
    return {name: statistics.median(seconds) for name, seconds in samples.items()}


def _time(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
