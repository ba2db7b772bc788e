"""Two encoders that begin with the weights of one image classifier."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import traverse_util


def with_encoder_weights(variables: Mapping[str, Any], pretrained: Mapping[str, Any]) -> dict[str, Any]:
    """`variables` of an `HDFNet` in which both encoders have those of `pretrained`, a classifier of their kind.

    What the classifier has beyond the encoder (its last layers) is left out. The first convolution of the depth encoder
    keeps its initial values, kernel and bias, where the images of the classifier have other channels. Dtypes stay those
    of `variables`.

    Raises ValueError naming the leaves of the encoders that `pretrained` lacks or has in another shape, and for
    variables without these encoders.

    >>> import jax
    >>> from flax_dynconv.models import SALIENCY_NETWORKS, create_model
    >>> model = SALIENCY_NETWORKS['hdfnet_vgg8'](width=0.25)
    >>> inputs = jnp.zeros((1, 32, 32, 3)), jnp.zeros((1, 32, 32, 1))
    >>> variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    >>> variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables)  # model.init(..) in real life
    >>> classifier = create_model('vgg8_bn', 10, width=0.25)
    >>> weights = jax.eval_shape(classifier.init, jax.random.key(1), inputs[0])
    >>> weights = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), weights)  # load_pretrained(..) in real life
    >>> params = with_encoder_weights(variables, weights)['params']
    >>> {name: params[name]['stage1_0']['conv']['kernel'].mean().item() for name in ('encoder', 'depth_encoder')}
    {'encoder': 1.0, 'depth_encoder': 0.0}
    >>> params['depth_encoder']['stage1_0']['bn']['scale'].mean().item()
    1.0

    Source: how lartpang/HDFNet begins with torchvision's weights.
    """
    source = traverse_util.flatten_dict(pretrained, sep='/')
    result, problems = traverse_util.flatten_dict(variables, sep='/'), []
    for name in ('encoder', 'depth_encoder'):
        pairs = {path: rest for path in result if (rest := _inside(path, name))}
        if not pairs:
            raise ValueError(f'variables: expected a module {name!r}, got {sorted(variables.get("params", ()))}')
        new = {_module(rest) for path, rest in pairs.items() if _for_others(result[path], source.get(rest))}
        for path, rest in pairs.items():
            if name == 'depth_encoder' and _module(rest) in new:
                continue
            found, wanted = source.get(rest), result[path]
            if found is None or found.shape != wanted.shape:
                problems.append(f'{rest!r} of shape {wanted.shape}, got {"none" if found is None else found.shape}')
            else:
                result[path] = jnp.asarray(found, wanted.dtype)
    if problems:
        raise ValueError(f'pretrained: expected the leaves of the encoders, {"; ".join(dict.fromkeys(problems))}')
    return traverse_util.unflatten_dict(result, sep='/')


def _inside(path, name):
    """The path of a leaf in the variables of the submodule `name`, None for other leaves."""
    collection, _, rest = path.partition('/')
    return f'{collection}/{rest.removeprefix(name + "/")}' if rest.startswith(f'{name}/') else None


def _module(path):
    return path.rpartition('/')[0]


def _for_others(kernel, found):
    """Whether the kernels of two convolutions differ in the channels of their inputs alone."""
    if found is None or kernel.ndim < 3 or kernel.ndim != found.ndim:
        return False
    return [i for i in range(kernel.ndim) if kernel.shape[i] != found.shape[i]] == [kernel.ndim - 2]
