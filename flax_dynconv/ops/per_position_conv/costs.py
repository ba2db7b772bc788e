"""The work of every form of `per_position_conv`, (forward, forward with gradients)."""

from flax_dynconv.ops.choice.work import add, inputs, outputs, settled, temporaries
from flax_dynconv.ops.choice.work import patches as num_patches
from flax_dynconv.ops.per_position_conv.taps import UNROLLED_CHANNELS


def work(form: str, case) -> tuple[dict, dict]:
    """What a form does."""
    spec, samples = case.spec, case.samples
    patches = case.itemsize * num_patches(spec, samples)
    # Every patch meets Cout channels, or one; kernels are read once, and written once as a gradient.
    amount = 2 * num_patches(spec, samples) * (spec.out_features if spec.full else 1)
    moved = case.itemsize * (inputs(spec, samples) + outputs(spec, samples) + samples * _kernels(spec))
    if form == 'taps' and (not spec.full or spec.in_features <= UNROLLED_CHANNELS):
        forward = {'taps': amount, 'elements': moved, 'call': 1}
        return forward, {'taps': amount, 'taps_gradient': 2 * amount, 'elements': 3 * moved, 'call': 1}
    # A product with one row for every position; patches as an array, or the same slices tap by tap.
    arithmetic = 'narrow' if spec.full else 'taps'
    copies = 2 if form == 'reference' else 1
    forward = {arithmetic: amount, 'patches': copies * patches, 'elements': moved, 'call': 1}
    gradient = {
        arithmetic: 3 * amount, 'patches': 2 * copies * patches, 'deposit': copies * patches, 'elements': 3 * moved,
        'call': 1,
    }  # fmt: skip
    if form == 'taps':
        forward['steps'], gradient['steps'] = spec.num_taps, 3 * spec.num_taps
        return _scaled(forward), _scaled(gradient)
    return settled((add(forward, temporaries(copies * patches)), add(gradient, temporaries(3 * copies * patches))))


# A product per tap instead of one over all: for wide kernels several times slower.
_TAP_BY_TAP = 3


def _scaled(work):
    return {kind: amount * (_TAP_BY_TAP if kind == 'narrow' else 1) for kind, amount in work.items()}


def _kernels(spec):
    size = spec.num_positions * spec.num_taps
    return size * (spec.in_features * spec.out_features if spec.full else spec.kernel_count)
