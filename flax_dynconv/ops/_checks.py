"""The checks and error messages that all operators share."""

import numbers
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from flax_dynconv.ops.choice.autotune import Autotune


def is_int(value) -> bool:
    """Python's and NumPy's integers, not bool."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def are_ints(values, minimum: int = 1) -> bool:
    """Whether this is a sequence of whole numbers of at least `minimum`, or an empty one."""
    return isinstance(values, Sequence) and all(is_int(value) and value >= minimum for value in values)


def are_odd(values) -> bool:
    """Whether this is a sequence of odd whole numbers of at least 1, and not empty."""
    return are_ints(values) and len(values) > 0 and all(value % 2 for value in values)


def check_ints(minimum: int = 1, **values) -> None:
    """Refuse what is no whole number of at least `minimum`; the names are those of the arguments."""
    for name, value in values.items():
        if not is_int(value) or value < minimum:
            raise ValueError(f'{name}: expected an int >= {minimum}, got {value!r}')


def check_floating(name: str, array: jax.Array) -> None:
    """Refuse anything but a real floating array: an operator never promotes silently."""
    if not hasattr(array, 'dtype') or not hasattr(array, 'shape'):
        raise TypeError(f'{name}: expected a floating array, got {type(array).__name__}')
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f'{name}: expected a floating dtype, got {array.dtype}')


def check_rank(name: str, array: jax.Array, ranks: tuple[int, ...], layout: str) -> None:
    """Refuse a wrong number of dimensions."""
    if array.ndim not in ranks:
        wanted = ' or '.join(map(str, ranks))
        raise ValueError(f'{name}: expected {wanted} dimensions {layout}, got shape {array.shape}')


def check_shape(name: str, array: jax.Array, shape: tuple, layout: str) -> None:
    """Refuse a wrong shape. Sizes are compared only where both are known: a symbolic batch never is."""
    wrong = array.ndim != len(shape) or any(not same_size(a, b) for a, b in zip(array.shape, shape, strict=True))
    if wrong:
        raise ValueError(f'{name}: expected shape {layout} = {tuple(shape)}, got {tuple(array.shape)}')


def same_size(a, b) -> bool:
    """Whether two sizes may be equal: symbolic ones are taken on trust."""
    return not (isinstance(a, int) and isinstance(b, int)) or a == b


def check_groups(in_features: int, group_features: int, out_features: int, groups: int, name: str) -> None:
    """Refuse channels that do not fit the feature groups."""
    if not isinstance(groups, numbers.Integral) or groups < 1:
        raise ValueError(f'feature_group_count: expected an int >= 1, got {groups!r}')
    if in_features % groups:
        raise ValueError(f'feature_group_count: expected a divisor of the {in_features} channels of x, got {groups}')
    if in_features // groups != group_features:
        raise ValueError(
            f'{name}: expected Cin/g = {in_features}/{groups} = {in_features // groups} input channels, '
            f'got {group_features}'
        )
    if out_features % groups:
        raise ValueError(
            f'{name}: expected Cout to be a multiple of feature_group_count = {groups}, got {out_features}'
        )


def check_implementation(name, known: dict) -> None:
    """Refuse anything but None, an Autotune and the name of an implementation."""
    if name is None or isinstance(name, Autotune) or (isinstance(name, str) and name in known):
        return
    raise ValueError(f'implementation: expected None, an Autotune or one of {sorted(known)}, got {name!r}')


def require(case, name) -> None:
    """Refuse a form that was asked for by name and cannot do the case."""
    reason = case.declines(name) if isinstance(name, str) else None
    if reason is not None:
        raise NotImplementedError(f'implementation {name!r} cannot do this case: {reason}')
