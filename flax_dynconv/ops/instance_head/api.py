"""`instance_head`: signature, documentation, checks and choice of implementation."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from flax_dynconv.ops import _sharding
from flax_dynconv.ops._arguments import Prepared
from flax_dynconv.ops._checks import (
    check_floating,
    check_implementation,
    check_ints,
    check_rank,
    check_shape,
    is_int,
    same_size,
)
from flax_dynconv.ops.choice import choosing
from flax_dynconv.ops.choice.autotune import Autotune
from flax_dynconv.ops.instance_head import reference
from flax_dynconv.ops.instance_head._own_gradient import head
from flax_dynconv.ops.instance_head._spec import HeadSpec, Operands
from flax_dynconv.ops.instance_head.case import IMPLEMENTATIONS, InstanceHeadCase


def instance_head(
    features: jax.Array,
    weights: Sequence[jax.Array],
    biases: Sequence[jax.Array],
    locations: jax.Array | None = None,
    scales: jax.Array | None = None,
    *,
    stride: int = 8,
    precision=None,
    preferred_element_type=None,
    implementation: str | Autotune | None = None,
) -> jax.Array:
    """A small network of 1x1 convolutions per instance, on features that all instances of an image share.

    x_0[b, n, p] = [(locations[b, n] - grid[p]) / scales[b, n], features[b, p]]

    x_{l+1} = ReLU(x_l) W_l + b_l, without the ReLU for l = 0;   logits[b, n, p] = x_L[b, n, p, 0]

    Args:
      features: (B, H, W, Cm), floating; its dtype is that of the result.
      weights: per layer (B, N, Cin, Cout), floating. The first Cin is 2 + Cm: x, y, then the features; it is Cm without
        locations. The last Cout is 1. `split_parameters` makes them of one generated vector.
      biases: per layer (B, N, Cout), floating.
      locations: (B, N, 2), x before y, in pixels of the image, floating (not a half type: these cannot hold a pixel of
        a large image); None for a network without coordinates.
      scales: (B, N), positive, in pixels of the image; given exactly when locations are. Instances that only fill up a
        fixed N need one too.
      stride: pixels of the image between neighbours; x and y of an index are `stride * index + stride // 2`.
      precision: of the matrix products of 'reference' and 'products'.
      preferred_element_type: dtype of the result.
      implementation: None takes the form of the least predicted time for the static shapes (`ops.explain` says which
        and why); 'reference', 'unrolled' or 'products' means this one; an `ops.Autotune` what it measures.

    Returns:
      (B, N, H, W). Everything is computed in float32, or float64 where the features are, and rounded once.

    The gradients with respect to all arrays are the library's own: activations are computed again in blocks of pixels,
    so that memory beyond the operands and their gradients hardly depends on the size of the image. They are again
    differentiable (which does keep activations). Forward mode needs `implementation='reference'`.

    Raises:
      TypeError: an operand is not floating, or weights or biases are no list.
      ValueError: shapes do not fit, scales without locations or the other way round, or an unknown implementation.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax_dynconv import ops
      >>> weights, biases = ops.split_parameters(jnp.ones((2, 5, 169)))
      >>> features, locations, scales = jnp.ones((2, 12, 16, 8)), jnp.ones((2, 5, 2)), jnp.full((2, 5), 64.0)
      >>> ops.instance_head(features, weights, biases, locations, scales).shape
      (2, 5, 12, 16)

    Reference: the mask head of CondInst (arXiv:2003.05664), `mask_heads_forward_with_coords` of AdelaiDet, which runs
    one convolution with a group per instance.
    """
    weights, biases = _layers('weights', weights), _layers('biases', biases)
    case, _, out_dtype = prepare(
        features, weights, biases, locations, scales, stride, precision, preferred_element_type, implementation
    )
    spec, shape = case.spec, (case.batch, case.instances, case.spec.height, case.spec.width)
    if any(is_int(n) and n == 0 for n in shape):
        return jnp.zeros(shape, out_dtype)
    run = functools.partial(_run, choosing.forms(case, implementation), spec, out_dtype, len(weights))
    return _sharding.over_batch(run, (features, locations, scales, *weights, *biases), ())


def prepare(
    features, weights, biases, locations, scales, stride, precision, preferred_element_type, implementation
) -> Prepared:
    """All checks of a call, from shapes and dtypes alone."""
    check_implementation(implementation, IMPLEMENTATIONS)
    check_floating('features', features)
    check_rank('features', features, (4,), '(B, H, W, Cm)')
    check_ints(stride=stride)
    weights, biases = _layers('weights', weights), _layers('biases', biases)
    _check_network(features, weights, biases, locations is not None)
    _check_coordinates(weights[0].shape[:2], locations, scales)
    batch, height, width, _ = features.shape
    channels = (weights[0].shape[2], *(w.shape[3] for w in weights))
    spec = HeadSpec(height, width, stride, precision)
    dtype, instances = jnp.dtype(features.dtype), weights[0].shape[1]
    case = InstanceHeadCase(spec, batch, dtype, instances, channels, locations is not None)
    return Prepared(case, None, jnp.dtype(preferred_element_type or dtype))


def _run(forms, spec, out_dtype, layers, features, locations, scales, *network):
    """The computation on one shard of the batch, in the dtype of the computation."""
    acc = jnp.promote_types(features.dtype, jnp.float32)
    operands = Operands(features, network[:layers], network[layers:], locations, scales)
    operands = jax.tree.map(lambda array: array.astype(acc), operands)
    named = forms == (('default', reference),)
    logits = reference.apply(spec, operands) if named else head(forms, spec, operands)
    return logits.astype(out_dtype).reshape(*logits.shape[:2], spec.height, spec.width)


def _layers(name, arrays):
    """One array per layer."""
    if not isinstance(arrays, list | tuple):
        raise TypeError(f'{name}: expected a list of arrays, one per layer, got {type(arrays).__name__}')
    return tuple(arrays)


def _check_network(features, weights, biases, with_coordinates):
    """Refuse layers that do not follow each other."""
    if not weights or len(weights) != len(biases):
        raise ValueError(
            f'weights, biases: expected one of each per layer, at least one, got {len(weights)} and {len(biases)}'
        )
    channels = features.shape[-1] + 2 * with_coordinates
    what = 'Cm + 2 coordinates' if with_coordinates else 'Cm'
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        check_floating(f'weights[{layer}]', w)
        check_floating(f'biases[{layer}]', b)
        check_rank(f'weights[{layer}]', w, (4,), '(B, N, Cin, Cout)')
        if not same_size(w.shape[0], features.shape[0]):
            raise ValueError(
                f'weights[{layer}]: expected a batch of {features.shape[0]} as in features, got shape {w.shape}'
            )
        if w.shape[2] != channels:
            raise ValueError(f'weights[{layer}]: expected Cin = {channels} ({what}), got shape {w.shape}')
        check_shape(f'weights[{layer}]', w, (*weights[0].shape[:2], *w.shape[2:]), '(B, N, Cin, Cout)')
        check_shape(f'biases[{layer}]', b, (*w.shape[:2], w.shape[3]), '(B, N, Cout)')
        channels, what = w.shape[3], f'Cout of weights[{layer}]'
    if channels != 1:
        raise ValueError(f'weights[{len(weights) - 1}]: expected one output channel, Cout = 1, got {channels}')


def _check_coordinates(batch_and_instances, locations, scales):
    """Refuse one of the two without the other."""
    if (locations is None) != (scales is None):
        given, other = ('scales', 'locations') if locations is None else ('locations', 'scales')
        raise ValueError(f'{other}: expected an array because {given} is given, got None')
    if locations is not None:
        check_floating('locations', locations)
        check_floating('scales', scales)
        check_shape('locations', locations, (*batch_and_instances, 2), '(B, N, 2)')
        check_shape('scales', scales, batch_and_instances, '(B, N)')
