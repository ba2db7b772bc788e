"""A label for every parameter of any Flax network, for optax: attention, kernel bank, norm or other."""

import jax
import numpy as np
from flax import linen as nn
from jax.tree_util import tree_flatten_with_path, tree_map_with_path

from flax_dynconv.layers._base import MixingConv
from flax_dynconv.layers._routing import Routing

LABELS = ('attention', 'kernel_bank', 'norm', 'other')

_NORMS = (
    nn.BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.InstanceNorm,
    nn.WeightNorm,
    nn.SpectralNorm,
)
# The methods of a dynamic convolution that make a parameter with one entry per kernel, and its name.
_BANKS = {'declare_kernel': 'kernel', 'declare_bias_bank': 'bias'}


def param_labels(model, *inputs, **kwargs):
    """The tree of `model.init(rngs, *inputs, **kwargs)['params']` with one of `LABELS` in place of each parameter.

    * `'attention'`: all that is inside a routing module: one of this library's, or what a `router` makes (the
      submodule `routing` of a layer or block with that field). Its biases and its norm count as attention too: an
      attention of which only the kernels are frozen would still change.
    * `'kernel_bank'`: the kernels of a dynamic convolution, and its biases where there is one per kernel; a bias that
      all kernels share is `'other'`.
    * `'norm'`: the parameters of Flax's norms, and of classes derived from them, outside an attention.
    * `'other'`: the rest. `SqueezeExcite` is here: it scales activations and routes no kernels.

    What decides is the type of the module that runs, not its name; shapes alone are computed. A class of your own
    may have an attribute `param_label = 'attention'` (or another label), which then holds for all inside it. `inputs`
    are arrays or `jax.ShapeDtypeStruct`s, and modes. A parameter in a box with axis names (`nn.Partitioned`) has one
    label, so that the labels fit the parameters boxed and unboxed. Statistics are no parameters: a frozen attention
    still follows the batches unless its norm uses running averages.

    Raises ValueError for a `param_label` that is none of `LABELS`.

    A network whose attention learns ten times slower:

    >>> import jax.numpy as jnp, optax
    >>> from flax_dynconv.layers import CondConv
    >>> net = nn.Sequential([CondConv(4, (3, 3), num_kernels=2), nn.LayerNorm(), nn.Dense(3)])
    >>> x = jnp.ones((1, 8, 8, 2))
    >>> params = net.init(jax.random.key(0), x)['params']
    >>> labels = param_labels(net, x)
    >>> labels['layers_0']
    {'bias': 'kernel_bank', 'kernel': 'kernel_bank', 'routing': {'bias': 'attention', 'kernel': 'attention'}}
    >>> optimizers = dict.fromkeys(LABELS, optax.sgd(0.1)) | {'attention': optax.sgd(0.01)}
    >>> state = optax.multi_transform(optimizers, labels).init(params)

    One whose attention is frozen: `optax.set_to_zero()` in the place of `optax.sgd(0.01)`. Weight decay:
    `decay_mask`.
    """
    kinds, wholes, banks = {}, {}, set()

    def record(next_function, args, kwargs, context):
        module = context.module
        kinds.setdefault(module.path, set()).add(type(module))  # several after nn.share_scope
        if (label := _whole_label(module, kinds)) is not None:
            wholes[module.path] = label
        if isinstance(module, MixingConv) and context.method_name in _BANKS:
            banks.add((*module.path, _BANKS[context.method_name]))
        return next_function(*args, **kwargs)

    def init(*inputs, **kwargs):
        with nn.intercept_methods(record):
            return model.init({name: jax.random.key(0) for name in ('params', 'dropout')}, *inputs, **kwargs)

    def label(keys, _):
        path = _names(keys)
        owners = [path[:length] for length in range(len(path)) if path[:length] in kinds]
        whole = next((wholes[owner] for owner in owners if owner in wholes), None)
        if whole is not None:
            return whole
        if path in banks:
            return 'kernel_bank'
        return 'norm' if any(issubclass(kind, _NORMS) for kind in kinds[owners[-1]]) else 'other'

    params = _eval_shape(init, *inputs, **kwargs).get('params', {})
    if any(_names(keys)[:-1] not in kinds for keys, _ in tree_flatten_with_path(params, is_leaf=_is_box)[0]):
        # A parameter that is a tree itself, or a module under `nn.jit`, whose second call runs no code: run it all.
        with jax.disable_jit():
            _eval_shape(init, *inputs, **kwargs)
    return tree_map_with_path(label, params, is_leaf=_is_box)


def decay_mask(params):
    """Where weight decay belongs: True for every kernel, also of attentions and kernel banks; False for all else.

    False are biases, those per kernel too, norms, and parameters of other names. By name: `kernel` is what Flax's
    convolutions and linear layers and those of this library call theirs. `params` is the tree of the parameters, as
    optax hands it to a mask that is a function.

    >>> import jax.numpy as jnp, optax
    >>> from flax_dynconv.layers import CondConv
    >>> params = CondConv(4, (3, 3)).init(jax.random.key(0), jnp.ones((1, 8, 8, 2)))['params']
    >>> decay_mask(params)
    {'bias': False, 'kernel': True, 'routing': {'bias': False, 'kernel': True}}
    >>> optimizer = optax.adamw(1e-3, weight_decay=0.05, mask=decay_mask)

    Without decay of the attention:

    >>> labels = param_labels(CondConv(4, (3, 3)), jnp.ones((1, 8, 8, 2)))
    >>> mask = jax.tree.map(lambda decay, label: decay and label != 'attention', decay_mask(params), labels)
    >>> optimizer = optax.adamw(1e-3, weight_decay=0.05, mask=mask)
    """
    return tree_map_with_path(lambda keys, _: _names(keys)[-1:] == ('kernel',), params, is_leaf=_is_box)


def _whole_label(module, kinds):
    """The label of everything inside `module`, or None; `kinds` are the classes at each path that have begun to run."""
    own = getattr(type(module), 'param_label', None)
    if own is not None:
        if own not in LABELS:
            raise ValueError(f'param_label of {type(module).__name__} must be one of {LABELS}, got {own!r}')
        return own
    path = module.path
    parents = kinds.get(path[:-1], ()) if path and path[-1] == 'routing' else ()
    routed = any('router' in parent.__dataclass_fields__ for parent in parents)
    return 'attention' if routed or isinstance(module, Routing) else None


def _eval_shape(function, *inputs, **kwargs):
    """`jax.eval_shape` in which what is no array (a mode, a method) stays as it is."""
    leaves, tree = jax.tree.flatten((inputs, kwargs))
    traced = [hasattr(leaf, 'shape') and not isinstance(leaf, np.generic) for leaf in leaves]

    def call(arrays):
        arrays = iter(arrays)
        given = [next(arrays) if array else leaf for leaf, array in zip(leaves, traced, strict=True)]
        inputs, kwargs = jax.tree.unflatten(tree, given)
        return function(*inputs, **kwargs)

    return jax.eval_shape(call, [leaf for leaf, array in zip(leaves, traced, strict=True) if array])


def _names(keys):
    return tuple(getattr(key, 'key', str(key)) for key in keys)


def _is_box(leaf):
    return isinstance(leaf, nn.meta.AxisMetadata)
