"""Several processes take one decision: what the first one found, or what went wrong in any of them."""

import pickle

import jax
import numpy as np


def from_first(function):
    """What `function()` returns, or the exception it raises, in the first process, in all of them; called by all.

    Files are looked at by one process, as a shared file system may show the others an older state.

    >>> from_first(lambda: 'as it is, in a single process')
    'as it is, in a single process'
    """
    if jax.process_count() == 1:
        return function()
    result, error = None, None
    if jax.process_index() == 0:
        try:
            result = function()
        except Exception as raised:
            error = _portable(raised)
    result, error = _broadcast((result, error), source=0)
    if error is not None:
        raise error
    return result


def first_not_none(value):
    """The value of the first process that has one, in all of them; None if none has. Called by all.

    >>> first_not_none('reason')
    'reason'
    """
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    has = multihost_utils.process_allgather(np.int32(value is not None)).reshape(-1)
    return _broadcast(value, source=int(np.argmax(has))) if has.any() else None


def of_all(value):
    """The values of all processes, in order, in all of them. Called by all.

    >>> of_all({'name': 'reason'})
    [{'name': 'reason'}]
    """
    count = jax.process_count()
    return [value] if count == 1 else [_broadcast(value, source) for source in range(count)]


def _portable(error):
    """The exception, or its text as a RuntimeError where it does not survive pickling: the others must not wait."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f'{type(error).__name__}: {error}')
    return error


def _broadcast(value, source):
    """The value of process `source`; pickled, as all are the same program."""
    from jax.experimental import multihost_utils

    is_source = jax.process_index() == source
    content = np.frombuffer(pickle.dumps(value), np.uint8) if is_source else np.zeros(0, np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content)), is_source))
    content = content if is_source else np.zeros(size, np.uint8)
    return pickle.loads(np.asarray(multihost_utils.broadcast_one_to_all(content, is_source)).tobytes())
