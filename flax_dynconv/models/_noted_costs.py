"""Costs noted in a program while it is traced, and added up as often as the program runs them."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# y = x, with a cost that was paid to compute it. Lowered too: `jit` keeps what it traced here for later calls.
_noted = Primitive('noted_cost')
_noted.def_impl(lambda x, **_: x)
_noted.def_abstract_eval(lambda aval, **_: aval)
mlir.register_lowering(_noted, lambda context, x, **_: [x])


def _derivative(primals, tangents, **cost):
    return _noted.bind(*primals, **cost), *tangents


def _mapped(operands, axes, *, key, cost):
    (x,), (axis,) = operands, axes
    return _noted.bind(x, key=key, cost=cost * x.shape[axis]), axis


ad.primitive_jvps[_noted] = _derivative
batching.primitive_batchers[_noted] = _mapped


def note(x: jax.Array, key: Any, cost: int) -> jax.Array:
    """x itself; the program that is being traced knows that computing it cost so much, for what `key` stands for."""
    return _noted.bind(x, key=key, cost=cost)


def noted(function: Callable[..., Any], *args: Any) -> Counter:
    """key -> the costs noted in `function(*args)`, of shapes alone: a scan's body times its length, under vmap times
    the mapped sizes; all branches of a conditional, and the body of a while loop once.

    >>> import jax.numpy as jnp
    >>> def body(carry, _):
    ...     return note(carry + 1, 'addition', 5), None
    >>> noted(lambda x: jax.lax.scan(body, x, None, length=3)[0], jnp.zeros(2))
    Counter({'addition': 15})
    """
    return _sum(jax.make_jaxpr(function)(*args).jaxpr)


def _sum(jaxpr):
    total = Counter()
    for equation in jaxpr.eqns:
        if equation.primitive is _noted:
            total[equation.params['key']] += equation.params['cost']
            continue
        times = equation.params['length'] if equation.primitive.name == 'scan' else 1
        for inner in jax.tree.leaves(equation.params, is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                found = _sum(getattr(inner, 'jaxpr', inner))
                total.update({key: times * cost for key, cost in found.items()})
    return total


def _is_jaxpr(value):
    return hasattr(value, 'eqns') or hasattr(getattr(value, 'jaxpr', None), 'eqns')
