"""The work of every form of `per_sample_conv`, (forward, forward with gradients); kernels are at hand."""

from flax_dynconv.ops.choice.work import add, flops, inputs, outputs, patches, products, settled, temporaries, weighted
from flax_dynconv.ops.per_sample_conv import _rows

CALL = {'call': 1}


def work(form: str, spec, samples: int, itemsize: int) -> tuple[dict, dict]:
    """What a form does."""
    return settled(unsettled(form, spec, samples, itemsize))


def unsettled(form: str, spec, samples: int, itemsize: int) -> tuple[dict, dict]:
    """The same, as a part of more."""
    return _FORMS[form](spec, samples, itemsize)


def through_patches(spec, samples, itemsize):
    """Patches and products; the gradient deposits patches and takes two products more."""
    copied = 0 if spec.pointwise else patches(spec, samples) * itemsize
    one = products(spec, samples)
    if spec.groups > 1:
        # Operands and result are rearranged group by group.
        one = add(one, {'elements': 2 * itemsize * (patches(spec, samples) + outputs(spec, samples))})
    forward = add(one, {'patches': copied}, temporaries(copied), CALL)
    return forward, add(weighted([(3, one)]), {'patches': copied, 'deposit': copied}, temporaries(2 * copied), CALL)


def one_by_one(spec, samples, itemsize):
    """A convolution for every sample; gradients over patches, in chunks of rows where these stay in cache."""
    amount = flops(spec, samples)
    forward = {'sample_conv' if spec.num_taps > 1 else 'sample_pointwise': amount, 'steps': samples, 'call': 1}
    if spec.groups > 1:
        forward = {'grouped': amount, 'steps': samples, 'call': 1}
    return forward, add(forward, backward_one_by_one(spec, samples, itemsize))


def backward_one_by_one(spec, samples, itemsize):
    """Both adjoints of `one_by_one`."""
    if _rows.suits(spec, samples, _dtype(itemsize)):
        return in_rows(spec, samples)
    copied = 0 if spec.pointwise else patches(spec, samples) * itemsize
    over_patches = add(products(spec, samples), {'patches': copied}, temporaries(copied))
    if spec.groups > 1:
        # Operands and result of both products are rearranged group by group.
        moved = 4 * itemsize * (patches(spec, samples) + outputs(spec, samples))
        return add(over_patches, products(spec, samples), {'deposit': copied, 'elements': moved})
    if spec.unit_strides:
        kind = 'sample_conv' if spec.num_taps > 1 else 'sample_pointwise'
        return add(over_patches, {kind: flops(spec, samples), 'steps': samples})
    return add(over_patches, products(spec, samples), {'deposit': copied})


def in_rows(spec, samples):
    """Both adjoints over patches of the cotangent, chunk by chunk."""
    columns = 4 * inputs(spec, samples) // spec.in_features * spec.num_taps * spec.out_features
    return add(weighted([(2, products(spec, samples))]), {'columns': columns})


def by_taps(spec, samples, itemsize):
    """One elementwise pass; two in the gradient."""
    amount = flops(spec, samples)
    moved = itemsize * (inputs(spec, samples) + outputs(spec, samples))
    forward = {'taps': amount, 'elements': moved, 'call': 1}
    return forward, {'taps': amount, 'taps_gradient': 2 * amount, 'elements': 3 * moved, 'call': 1}


def in_groups(spec, samples, itemsize):
    """XLA's convolution with a group per sample, its weight gradient over patches."""
    amount = flops(spec, samples)
    copied = patches(spec, samples) * itemsize
    over_patches = add(products(spec, samples), {'patches': copied}, temporaries(copied))
    return {'vmap': amount, 'call': 1}, add(over_patches, {'vmap': 2 * amount, 'call': 1})


def mapped(spec, samples, itemsize):
    """`vmap` of a convolution; in the gradient the compiler multiplies zeros, batch times the operations."""
    amount = flops(spec, samples)
    return {'vmap': amount, 'call': 1}, {'vmap': 2 * amount, 'vmap_gradient': samples * amount, 'call': 1}


def _dtype(itemsize):
    return 'float64' if itemsize == 8 else 'float32'


_FORMS = {
    'reference': mapped,
    'grouped': in_groups,
    'patches': through_patches,
    'loop': one_by_one,
    'taps': by_taps,
}
