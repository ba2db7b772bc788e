"""Parameters and multiply-adds of any Flax network, from shapes alone."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
from flax import linen as nn
from flax import traverse_util
from flax.errors import ModifyScopeVariableError

from flax_dynconv.models._noted_costs import note, noted


class Layer(NamedTuple):
    """One module of the network: `path` names joined by '/', `output` its shape, the counts are its own."""

    path: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Report:
    """Totals of a network, and its layers in the order of their first call."""

    parameters: int
    multiply_adds: int
    layers: tuple[Layer, ...]


def count(model, *inputs, **kwargs):
    """Parameters, and multiply-adds per example, of `model.apply(variables, *inputs, **kwargs)`; nothing is computed.

    `inputs` are arrays or `jax.ShapeDtypeStruct`s; the leading axis of the first is the batch, and multiply-adds are
    divided by its length. A convolution costs H' * W' * P for a kernel of P weights, a linear layer in * out at each
    position. A dynamic convolution adds its routing, K * P for mixing K kernels and one per scaled activation,
    whichever implementation computes it. Norms, activations, pooling, additions, `nn.Einsum` and bare `jnp` calls
    count as 0. The bodies of an `nn.scan` and of an `nn.vmap` count as often as they run, all branches of an `nn.cond`
    and an `nn.switch` do, and the body of an `nn.while_loop`, whose turns no shape tells, counts once.

    Counted are `nn.Conv`, `nn.ConvLocal`, `nn.ConvTranspose`, `nn.Dense`, `nn.DenseGeneral`, and every module with a
    method `multiply_adds(x_shape, y_shape)`: multiply-adds per sample, without those of its submodules. The layers
    here have it.

    >>> import jax.numpy as jnp
    >>> report = count(nn.Conv(8, (3, 3)), jnp.zeros((2, 5, 5, 4)))
    >>> report.parameters, report.multiply_adds
    (296, 7200)
    """
    rows = {}
    # What is no array (a mode, a flag) stays as it is: traced, a network could not decide by it.
    leading = tuple(value if _is_static(value) else None for value in inputs)
    arrays = {name: value for name, value in kwargs.items() if hasattr(value, 'shape')}
    settings = {name: value for name, value in kwargs.items() if name not in arrays}

    def record(next_function, args, kwargs, context):
        if context.method_name != '__call__':
            return next_function(*args, **kwargs)
        module = context.module
        row = rows.setdefault(module.path, {'kind': type(module).__name__, 'output': None})
        y = next_function(*args, **kwargs)
        x = args[0] if args else next(iter(kwargs.values()), None)
        if not hasattr(y, 'shape'):
            return y
        row['output'] = tuple(y.shape)
        cost = _total(module, tuple(getattr(x, 'shape', ())), tuple(y.shape))
        # Noted in the program and not added up here: a loop's body is traced more than once and runs more often.
        return note(y, module.path, cost) if cost else y

    def whole(inputs):
        return tuple(traced if fixed is None else fixed for traced, fixed in zip(inputs, leading, strict=True))

    def init(inputs, arrays):
        return model.init(_rngs(), *whole(inputs), **arrays, **settings)

    def call(mutable, variables, inputs, arrays):
        # A call, not `init`, which may run a module more than once (nn.WeightNorm's does).
        with nn.intercept_methods(record):
            return model.apply(variables, *whole(inputs), rngs=_rngs(), mutable=mutable, **arrays, **settings)

    traced = tuple(None if _is_static(value) else value for value in inputs)
    variables = jax.eval_shape(init, traced, arrays)
    try:
        costs = noted(functools.partial(call, False), variables, traced, arrays)
    except ModifyScopeVariableError:  # The arguments ask for training: it may write.
        rows.clear()
        costs = noted(functools.partial(call, True), variables, traced, arrays)
    params = nn.meta.unbox(variables).get('params', {})
    if _owners(params) - rows.keys():
        # A second module like one before it under `nn.jit` runs no code of its own: run it all again, without.
        rows.clear()
        with jax.disable_jit():
            costs = noted(functools.partial(call, True), variables, traced, arrays)
    batch = _batch(inputs)
    layers = []
    for path, row in rows.items():
        own = _own_parameters(params, path)
        if own or costs[path]:
            layers.append(Layer('/'.join(path), row['kind'], row['output'], own, costs[path] // batch))
    return Report(_size(params), costs.total() // batch, tuple(layers))


def _conv(module, x_shape, y_shape):
    size = module.kernel_size if not isinstance(module.kernel_size, int) else (module.kernel_size,)
    return math.prod(y_shape) * math.prod(size) * (x_shape[-1] // module.feature_group_count)


def _conv_transpose(module, x_shape, y_shape):
    size = module.kernel_size if not isinstance(module.kernel_size, int) else (module.kernel_size,)
    return math.prod(x_shape) * math.prod(size) * y_shape[-1]


def _dense(module, x_shape, y_shape):
    return math.prod(y_shape) * x_shape[-1]


def _dense_general(module, x_shape, y_shape):
    axes = module.axis if not isinstance(module.axis, int) else (module.axis,)
    return math.prod(y_shape) * math.prod(x_shape[axis] for axis in axes)


_RULES: tuple[tuple[type, Callable], ...] = (
    (nn.Conv, _conv),
    (nn.ConvLocal, _conv),
    (nn.ConvTranspose, _conv_transpose),
    (nn.DenseGeneral, _dense_general),
    (nn.Dense, _dense),
)


def _total(module, x_shape, y_shape):
    """Multiply-adds of one call of this module alone, over the whole batch."""
    if callable(getattr(type(module), 'multiply_adds', None)):
        spatial = len(getattr(module, 'kernel_shape', y_shape[1:-1]))  # without `kernel_shape`: one batch axis
        return module.multiply_adds(x_shape, y_shape) * math.prod(y_shape[: -1 - spatial])
    rule = next((rule for kind, rule in _RULES if isinstance(module, kind)), None)
    return 0 if rule is None else rule(module, x_shape, y_shape)


def _rngs():
    return {name: jax.random.key(0) for name in ('params', 'dropout')}


def _is_static(value):
    return isinstance(value, bool | int | float | str)


def _batch(inputs):
    """Length of the leading axis of the first array; 1 where there is none."""
    leaves = [leaf for leaf in jax.tree.leaves(inputs) if getattr(leaf, 'ndim', 0)]
    return max(1, leaves[0].shape[0]) if leaves else 1


def _own_parameters(params, path):
    """Parameters that lie directly in the module at `path`."""
    for name in path:
        params = params.get(name, {})
    return _size([leaf for leaf in params.values() if not isinstance(leaf, Mapping)])


def _owners(params):
    """Paths of the modules that have parameters."""
    return {path[:-1] for path in traverse_util.flatten_dict(params)}


def _size(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
