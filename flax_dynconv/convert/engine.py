"""Strict conversion of whole trees by a rule table: everything that does not fit is one error that lists it all."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.errors import FlaxError

from flax_dynconv.convert.arrays import as_numpy, is_floating
from flax_dynconv.convert.copies import demanded
from flax_dynconv.convert.errors import ConversionError, nearest
from flax_dynconv.convert.reference import BUFFERS, Buffer, buffer_path
from flax_dynconv.convert.rules import RuleTable
from flax_dynconv.convert.transforms import Transform
from flax_dynconv.convert.unwrapping import Unwrapped

# Collections that a state_dict knows nothing of.
FLAX_ONLY = ('temperature', 'intermediates')
_SUGGESTIONS = 20


def expected_leaves(
    module: nn.Module, example: tuple[tuple[int, ...], ...], call: dict[str, Any], table: RuleTable | None = None
) -> dict[str, Any]:
    """Path -> shape and dtype of every variable of `module`; nothing is computed, whatever the network's size.

    Each batch norm also has the buffer `num_batches_tracked` in PyTorch, for which Flax has no slot; but for those that
    have none in the `table` (frozen ones), if it is given.
    Raises ConversionError for a module that refuses its own fields.
    """
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in example]
    rngs = {'params': jax.random.key(0), 'dropout': jax.random.key(0)}
    try:
        shapes = jax.eval_shape(lambda *xs: module.init(rngs, *xs, **call), *inputs)
    except (ValueError, OverflowError, MemoryError, FlaxError) as error:
        raise ConversionError(f'no Flax module has these arguments: {error}') from error
    leaves = flatten(shapes)
    for path in [p for p in leaves if p.startswith('batch_stats/') and p.endswith('/mean')]:
        counter = path.removeprefix('batch_stats/').removesuffix('/mean')
        place = f'{BUFFERS}/{counter}/num_batches_tracked'
        if table is None or table.to_torch(place):
            leaves[place] = np.zeros((), np.int64)
    return leaves


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Nested variables as {'collection/module/leaf': array}."""
    return traverse_util.flatten_dict(nn.meta.unbox(variables), sep='/')


def state_to_leaves(
    source: Unwrapped,
    table: RuleTable,
    expected: Mapping[str, Any],
    dropped: Container[str] = (),
    buffers: Mapping[str, Buffer] | None = None,
) -> dict[str, np.ndarray]:
    """Flax leaves from a PyTorch state_dict, dtypes kept; no `torch_buffers` where it has no counter of batches.

    dropped: keys that it may also have, and that go nowhere. buffers: those that it may also have.
    Raises ConversionError listing unused keys and missing keys (with the nearest ones), shapes and dtypes that do not
    fit, and values that are not finite.
    """
    state_dict, targets, buffers = source.state, torch_names(table, expected), buffers or {}
    known = {*targets, *buffers}
    unused = [*(key for key in state_dict if key not in known and key not in dropped), *source.leftovers]
    missing = [key for key in demanded(targets, state_dict) if key not in state_dict]
    problems = [f'unused key {key!r}{near(str(key), missing or targets, i)}' for i, key in enumerate(unused)]
    problems += [f'missing key {key!r} (for {targets[key][0]}){near(key, unused, i)}' for i, key in enumerate(missing)]
    leaves = {}
    for key, (path, transform) in targets.items():
        if key not in state_dict:
            continue
        shape = torch_shape(transform, expected[path].shape)
        array, complaint = usable(state_dict[key], shape, jnp.issubdtype(expected[path].dtype, jnp.floating))
        if not complaint:
            array, complaint = _transformed(transform, array, expected[path].shape)
        if complaint:
            problems.append(f'{key!r}: {complaint}')
        else:
            # A copy: tensors that PyTorch goes on training share their memory with `array`.
            leaves[path] = np.array(array, order='C')
    for key in [key for key in buffers if key in state_dict]:
        array, complaint = _buffer(buffers[key], state_dict[key])
        if complaint:
            problems.append(f'{key!r}: {complaint}')
        else:
            leaves[buffer_path(key)] = np.array(array, order='C')
    raise_all(problems, 'the state_dict does not fit', _place(source))
    return leaves


def leaves_to_state(
    variables: Mapping[str, Any],
    table: RuleTable,
    expected: Mapping[str, Any],
    buffers: Mapping[str, Buffer] | None = None,
) -> dict[str, np.ndarray]:
    """A PyTorch state_dict from Flax variables, dtypes kept.

    Variables without any `torch_buffers` (a network trained from scratch) get counters of 0, and the values of the
    `buffers`; these are left out where the weights came from PyTorch without them.
    Raises ConversionError listing unused leaves, missing leaves and shapes that do not fit.
    """
    if not isinstance(variables, Mapping):
        raise ConversionError(f'variables: expected a mapping of collections, got {type(variables).__name__}')
    given = {path: leaf for path, leaf in flatten(variables).items() if path.split('/')[0] not in FLAX_ONLY}
    if not any(path.startswith(f'{BUFFERS}/') for path in given):
        counters = [path for path in expected if path.startswith(f'{BUFFERS}/')]
        given |= {path: np.zeros(expected[path].shape, np.int64) for path in counters}
        given |= {buffer_path(key): buffer.value for key, buffer in (buffers or {}).items()}
    carried = {buffer_path(key): key for key in buffers or {}}
    kept = {key: as_numpy(given.pop(path)) for path, key in carried.items() if path in given}
    targets = torch_names(table, expected)
    paths = {path: key for key, (path, _) in targets.items()}
    unused = [path for path in given if path not in paths]
    missing = [path for path in paths if path not in given]
    problems = [f'unused leaf {path!r}{near(path, paths, i)}' for i, path in enumerate(unused)]
    problems += [f'missing leaf {path!r}{near(path, given, i)}' for i, path in enumerate(missing)]
    state = {}
    for key, (path, transform) in targets.items():
        if path not in given:
            continue
        array = as_numpy(given[path])
        if array.shape != expected[path].shape:
            problems.append(f'{path!r}: expected shape {expected[path].shape}, got {array.shape}')
        else:
            state[key] = np.array(transform.to_torch(array), order='C')
    raise_all(problems, 'the variables do not fit')
    return state | {key: np.array(array, order='C') for key, array in kept.items()}


def torch_names(table: RuleTable, expected: Mapping[str, Any]) -> dict[str, tuple[str, Transform]]:
    """{key: (path, transform)} for every expected leaf that PyTorch knows; one without a rule is a mistake there."""
    names = {}
    for path in expected:
        if path.split('/')[0] in FLAX_ONLY:
            continue
        found = table.to_torch(path)
        back = found and table.to_flax(found[0])
        if not back or back[0] != path:
            raise ConversionError(f'no invertible rule for the Flax leaf {path!r}')
        names[found[0]] = (path, found[1])
    return names


def torch_shape(transform: Transform, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch of a leaf of this shape; ConversionError for one too large for any array."""
    try:
        # One element, however large the shape.
        return transform.to_torch(np.broadcast_to(np.int8(0), shape)).shape
    except (ValueError, MemoryError) as error:
        raise ConversionError(f'no array can have the shape {shape}: {error}') from error


def _transformed(transform, array, shape):
    """The array of a leaf, and what is wrong: a flat bank's rule says its channels, and a network may have others."""
    try:
        found = transform.to_flax(array)
    except ValueError as error:
        return None, f"the reference's networks have no leaf of shape {shape} here: {error}"
    if found.shape != shape:
        return None, f"the reference's networks have shape {found.shape} here, this one {shape}"
    return found, None


def usable(value: Any, shape: tuple[int, ...], floating: bool) -> tuple[np.ndarray | None, str | None]:
    """The array, and what is wrong with it or None."""
    try:
        array = as_numpy(value)
    except TypeError as error:
        return None, str(error)
    if array.shape != shape:
        return None, f'expected shape {shape}, got {array.shape}'
    if is_floating(array) != floating:
        return None, f'expected {"floating-point" if floating else "integer"} values, got dtype {array.dtype}'
    if floating and (bad := int(array.size - np.isfinite(array).sum())):
        return None, f'{bad} of {array.size} values are NaN or infinite'
    return array, None


def _buffer(buffer, value):
    """The array, and what is wrong with it or None; a fixed one may have any dtype that holds its values."""
    floating = jnp.issubdtype(buffer.value.dtype, jnp.floating)
    try:
        kind = is_floating(as_numpy(value)) if buffer.fixed else floating
    except TypeError as error:
        return None, str(error)
    array, complaint = usable(value, buffer.value.shape, kind)
    if not complaint and buffer.fixed and not np.array_equal(array, buffer.value):
        complaint = f'expected {buffer.value.tolist()} for these arguments, got {array.tolist()}'
    return array, complaint


def _place(source):
    """Where the keys of the message are, if not at the top, and the way out where there are two copies."""
    where = f' in {source}' if str(source) else ''
    return where + (' (ema=False takes the ordinary weights)' if source.averaged and source.other else '')


def near(name: str, known: Iterable[str], position: int) -> str:
    """' (nearest: ...)', the nearest keys; only for the first ones of a long list, each search reads all of `known`."""
    close = nearest(name, known, count=2) if position < _SUGGESTIONS else ()
    return f' (nearest: {", ".join(map(repr, close))})' if close else ''


def raise_all(problems: list[str], headline: str, place: str = '') -> None:
    """Raise ConversionError with all problems, one a line, if there are any."""
    if problems:
        raise ConversionError(f'{headline}, {len(problems)} problem(s){place}:\n  ' + '\n  '.join(problems))
