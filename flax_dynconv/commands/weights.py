"""A network with the weights of a file, checked against what it will be given."""

import json

import jax

from flax_dynconv.convert import load_pretrained
from flax_dynconv.models import FRAME_PREDICTORS, SALIENCY_NETWORKS, SEGMENTERS
from flax_dynconv.training.kinds import steerable


def check_classifier(name):
    """ValueError for a network that does something else than tell classes of images.

    >>> check_classifier('resnet18')
    """
    if name in (*SEGMENTERS, *FRAME_PREDICTORS, *SALIENCY_NETWORKS, steerable.NETWORK):
        raise ValueError(
            f'--model with --weights must be a classifier of images, got {name}: such a network is tested, and used, '
            'by the folder of its training run'
        )


def load(path, settings):
    """(model, variables) of `settings.network` with the weights of a file; see `convert.load_pretrained`.

    Raises what that raises, and ValueError for arguments that the network does not have, and for no classifier.
    """
    network = settings.network
    check_classifier(network.model)
    try:
        return load_pretrained(network.model, path, dtype=network.model_dtype, **json.loads(network.arguments))
    except TypeError as error:
        raise ValueError(f'--arguments: {error}') from error


def fitted(variables, expected, path):
    """The collections of `variables` that `expected` (a tree of shapes) has; ValueError if shapes are not the same."""
    chosen = {name: variables[name] for name in expected if name in variables}
    found, wanted = (
        {jax.tree_util.keystr(key, simple=True, separator='/'): tuple(leaf.shape) for key, leaf in leaves}
        for leaves in (jax.tree.leaves_with_path(chosen), jax.tree.leaves_with_path(dict(expected)))
    )
    for name in wanted:
        if found.get(name) != wanted[name]:
            raise ValueError(
                f'{path}: for these inputs the network needs {name} of shape {wanted[name]}, the file has '
                f'{found.get(name)}'
            )
    return chosen
