"""load_pretrained: a network by name with the weights of a file, for as many classes as wanted."""

import os
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util

from flax_dynconv.convert import hub
from flax_dynconv.convert.api import get_reference
from flax_dynconv.convert.classifier import CLASSES, count_classes, heads, in_heads, with_classes
from flax_dynconv.convert.conversion import cast, convert_classes
from flax_dynconv.convert.engine import flatten
from flax_dynconv.convert.errors import ConversionError
from flax_dynconv.convert.fitting import count_channels, fit, initialised, network_leaves
from flax_dynconv.convert.parts import has_part
from flax_dynconv.convert.pretrained_names import PRETRAINED, torch_arguments
from flax_dynconv.convert.rules import RuleTable
from flax_dynconv.convert.weight_files import is_flax, load_weights, nested
from flax_dynconv.models import create_model


def load_pretrained(
    name: str,
    source: str | os.PathLike,
    *,
    num_classes: int | None = None,
    ema: bool | None = None,
    dtype: Any = None,
    param_dtype: Any = None,
    revision: str | None = None,
    rng: jax.Array | None = None,
    **overrides: Any,
) -> tuple[nn.Module, dict[str, Any]]:
    """The network `create_model(name, ...)` with the weights of a file, PyTorch's or Flax's.

    source: a path with a suffix that `load_weights` reads, 'hf:owner/repo' or 'hf:owner/repo/file' (needs
        huggingface_hub, the extra `hub`). Flax variables (`save_variables`) fit every network, PyTorch's weights those
        in `PRETRAINED`, which says by which reference they are read.
    num_classes: None: as many as the file's classifier has. 0: no classifier, the network returns pooled features;
        that of the file is dropped, as everything is that `features_only=True` leaves out of the network. Any other
        number than the file's: a classifier that `rng` initialises (default `jax.random.key(0)`), the rest is the
        file's.
    ema: which copy of the weights a checkpoint gives, as in `from_torch`.
    dtype, param_dtype: of the computation and the parameters; the leaves are cast to `param_dtype`, None keeps theirs.
    revision: branch, tag or commit on the hub. overrides: further fields of the network, as for `create_model`. A
        segmentation network has an auxiliary head if the file has one, unless `auxiliary` says what must be.

    Returns the network and its variables, numpy arrays: names and shapes are those of `model.init`, and `torch_buffers`
    if the file has them. A file without any `temperature` is that of a trained network, 1.0.
    Raises ConversionError (everything in the file that is unused, missing, misshapen or not finite, in one message; a
    network without a reference), CaseError (a file that cannot be read), ValueError for an unknown name and TypeError
    for an unknown override.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> from flax_dynconv.convert import save_variables
    >>> model = create_model('resnet8', num_classes=10)
    >>> path = os.path.join(tempfile.mkdtemp(), 'digits.safetensors')
    >>> shapes = jax.eval_shape(model.init, jax.random.key(1), jnp.ones((1, 8, 8, 1)))
    >>> save_variables(path, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes))  # as if trained
    >>> model, variables = load_pretrained('resnet8', path, num_classes=3)
    >>> model.num_classes, variables['params']['fc']['kernel'].shape
    (3, (64, 3))
    """
    if param_dtype is not None:
        overrides['param_dtype'] = param_dtype
    whole = {key: value for key, value in overrides.items() if key != 'features_only'}
    full = create_model(name, CLASSES, dtype, **whole)
    # What is wrong with the arguments is said before anything is read.
    create_model(name, 1 if num_classes is None else num_classes, dtype, **overrides)
    headless = overrides.get('features_only', False) or num_classes == 0
    path = hub.fetch(source, revision) if str(source).startswith(hub.PREFIX) else source
    table = load_weights(path)
    if hasattr(full, 'auxiliary') and overrides.get('auxiliary') is None:
        overrides['auxiliary'] = whole['auxiliary'] = has_part(table, 'auxiliary_head')
        full = full.clone(auxiliary=overrides['auxiliary'])
    try:
        flax = is_flax(table)
        channels = getattr(full, 'in_channels', None)
        expected = network_leaves(full, channels or 3)
        if flax:
            leaves = _flax_leaves(path, table, ema)
            if not channels and (channels := count_channels(expected, leaves, 3)) != 3:
                expected = network_leaves(full, channels)
        else:
            leaves = _torch_leaves(name, table, ema, expected, whole)
            channels = channels or 3
        classes = count_classes(
            {key: leaf.shape for key, leaf in expected.items() if CLASSES in leaf.shape},
            {key: np.shape(leaf) for key, leaf in leaves.items()},
        )
        if num_classes is None and not classes and not headless:
            raise ConversionError(f'num_classes: there is no classifier, {heads(expected)}; 0 gives pooled features')
        model = create_model(name, classes if num_classes is None else num_classes, dtype, **overrides)
        wanted = network_leaves(model, channels) if headless else with_classes(expected, model.num_classes)
        fresh = heads(expected) if model.num_classes != classes else ()
        leaves = fit(leaves, with_classes(expected, classes), wanted, fresh)
    except ConversionError as error:
        raise ConversionError(f'{source}: {error}') from error
    if absent := [key for key in wanted if in_heads(key, fresh)]:
        leaves |= initialised(model, absent, channels, jax.random.key(0) if rng is None else rng)
    if param_dtype is not None:
        leaves = {key: cast(key, leaf, param_dtype) for key, leaf in leaves.items()}
    return model, traverse_util.unflatten_dict(leaves, sep='/')


def _torch_leaves(name, table, ema, expected, overrides):
    """Leaves of PyTorch's weights, with as many classes as they have; the reference says which key is which leaf."""
    if name not in PRETRAINED:
        known = ', '.join(sorted(PRETRAINED))
        raise ConversionError(
            f'{name} has no reference for PyTorch weights, only for Flax variables (save_variables); those with one: '
            f'{known}'
        )
    reference, arguments = PRETRAINED[name]
    record = get_reference(reference)
    arguments = arguments | torch_arguments(overrides, record.signature.defaults)
    rules = RuleTable(record.rules(record.signature.bind(reference, arguments)))
    return convert_classes(reference, rules, table, expected, ema=ema)


def _flax_leaves(path, table, ema):
    if ema:
        raise ConversionError('ema=True: a file of Flax variables has no EMA copy')
    return flatten(nested(path, table))
