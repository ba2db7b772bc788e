"""Strict conversion of whole trees by a rule table: everything that does not fit is one error that lists it all."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.errors import FlaxError

from flax_dynconv.convert.arrays import as_numpy, is_floating
from flax_dynconv.convert.errors import ConversionError, nearest
from flax_dynconv.convert.rules import RuleTable

# Collections that a state_dict knows nothing of.
FLAX_ONLY = ('temperature', 'intermediates')
BUFFERS = 'torch_buffers'
_SUGGESTIONS = 20


def expected_leaves(module: nn.Module, example: tuple[tuple[int, ...], ...], call: dict[str, Any]) -> dict[str, Any]:
    """Path -> shape and dtype of every variable of `module`; nothing is computed, whatever the network's size.

    Each batch norm also has the buffer `num_batches_tracked` in PyTorch, for which Flax has no slot.
    Raises ConversionError for a module that refuses its own fields.
    """
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in example]
    rngs = {'params': jax.random.key(0), 'dropout': jax.random.key(0)}
    try:
        shapes = jax.eval_shape(lambda *xs: module.init(rngs, *xs, **call), *inputs)
    except (ValueError, FlaxError) as error:
        raise ConversionError(f'no Flax module has these arguments: {error}') from error
    leaves = flatten(shapes)
    for path in [p for p in leaves if p.startswith('batch_stats/') and p.endswith('/mean')]:
        counter = path.removeprefix('batch_stats/').removesuffix('/mean')
        leaves[f'{BUFFERS}/{counter}/num_batches_tracked'] = np.zeros((), np.int64)
    return leaves


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Nested variables as {'collection/module/leaf': array}."""
    return traverse_util.flatten_dict(nn.meta.unbox(variables), sep='/')


def state_to_leaves(
    state_dict: Mapping[str, Any], table: RuleTable, expected: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Flax leaves from a PyTorch state_dict, dtypes kept.

    Raises ConversionError listing unused keys and missing keys (with the nearest ones), shapes and dtypes that do not
    fit, and values that are not finite.
    """
    if not isinstance(state_dict, Mapping):
        raise ConversionError(f'state_dict: expected a mapping of keys to arrays, got {type(state_dict).__name__}')
    expected = {path: leaf for path, leaf in expected.items() if path.split('/')[0] not in FLAX_ONLY}
    targets = _torch_names(table, expected)
    unused = [key for key in state_dict if key not in targets]
    missing = [key for key in targets if key not in state_dict]
    if hint := _misplaced(state_dict, targets):
        raise ConversionError(f'the state_dict does not fit: {hint}')
    problems = [f'unused key {key!r}{_near(str(key), missing or targets, i)}' for i, key in enumerate(unused)]
    problems += [f'missing key {key!r} (for {targets[key][0]}){_near(key, unused, i)}' for i, key in enumerate(missing)]
    leaves = {}
    for key, (path, transform) in targets.items():
        if key not in state_dict:
            continue
        shape = _torch_shape(transform, expected[path].shape)
        array, complaint = _usable(state_dict[key], shape, jnp.issubdtype(expected[path].dtype, jnp.floating))
        if complaint:
            problems.append(f'{key!r}: {complaint}')
        else:
            # A copy: tensors that PyTorch goes on training share their memory with `array`.
            leaves[path] = np.array(transform.to_flax(array), order='C')
    _raise(problems, 'the state_dict does not fit')
    return leaves


def leaves_to_state(
    variables: Mapping[str, Any], table: RuleTable, expected: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """A PyTorch state_dict from Flax variables, dtypes kept.

    Variables without any `torch_buffers` (a network trained from scratch) get counters of 0.
    Raises ConversionError listing unused leaves, missing leaves and shapes that do not fit.
    """
    if not isinstance(variables, Mapping):
        raise ConversionError(f'variables: expected a mapping of collections, got {type(variables).__name__}')
    expected = {path: leaf for path, leaf in expected.items() if path.split('/')[0] not in FLAX_ONLY}
    given = {path: leaf for path, leaf in flatten(variables).items() if path.split('/')[0] not in FLAX_ONLY}
    if not any(path.startswith(f'{BUFFERS}/') for path in given):
        counters = [path for path in expected if path.startswith(f'{BUFFERS}/')]
        given |= {path: np.zeros(expected[path].shape, np.int64) for path in counters}
    unused = [path for path in given if path not in expected]
    missing = [path for path in expected if path not in given]
    problems = [f'unused leaf {path!r}{_near(path, expected, i)}' for i, path in enumerate(unused)]
    problems += [f'missing leaf {path!r}{_near(path, given, i)}' for i, path in enumerate(missing)]
    state = {}
    for key, (path, transform) in _torch_names(table, expected).items():
        if path not in given:
            continue
        array = as_numpy(given[path])
        if array.shape != expected[path].shape:
            problems.append(f'{path!r}: expected shape {expected[path].shape}, got {array.shape}')
        else:
            state[key] = np.array(transform.to_torch(array), order='C')
    _raise(problems, 'the variables do not fit')
    return state


def _torch_names(table, expected):
    """{key: (path, transform)} for every expected leaf; a leaf without a rule is a mistake in the table."""
    names = {}
    for path in expected:
        found = table.to_torch(path)
        back = found and table.to_flax(found[0])
        if not back or back[0] != path:
            raise ConversionError(f'no invertible rule for the Flax leaf {path!r}')
        names[found[0]] = (path, found[1])
    return names


def _torch_shape(transform, shape):
    return transform.to_torch(np.zeros(shape, np.int8)).shape


def _usable(value, shape, floating):
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


def _misplaced(state_dict, targets):
    """What is wrong with the whole table, where one thing is: it lies inside another, or all keys have a prefix."""
    if set(targets) & set(state_dict):
        return None
    inside = [name for name, value in state_dict.items() if isinstance(value, Mapping)]
    if inside:
        return f'{inside[0]!r} is not an array but a table: give that one, state_dict[{inside[0]!r}]'
    first = next(iter(targets))
    prefixes = {str(key).removesuffix(first) for key in state_dict if str(key).endswith(first)}
    for prefix in sorted(prefixes):
        if all(f'{prefix}{key}' in state_dict for key in targets):
            return f'its keys begin with {prefix!r}, expected {first!r}, got {prefix + first!r}: remove the prefix'
    return None


def _near(name, known, position):
    """The nearest keys; only for the first ones of a long list, each search reads all of `known`."""
    close = nearest(name, known, count=2) if position < _SUGGESTIONS else ()
    return f' (nearest: {", ".join(map(repr, close))})' if close else ''


def _raise(problems, headline):
    if problems:
        raise ConversionError(f'{headline}, {len(problems)} problem(s):\n  ' + '\n  '.join(problems))
