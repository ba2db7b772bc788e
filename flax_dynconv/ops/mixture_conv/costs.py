"""The work of every form of `mixture_conv`, (forward, forward with gradients); scales of channels cost all alike."""

from flax_dynconv.ops.choice import work as of
from flax_dynconv.ops.choice.work import CACHED_BYTES, SHARED_BYTES, add, weighted
from flax_dynconv.ops.mixture_conv._kernel_blocks import KernelBlocks
from flax_dynconv.ops.mixture_conv._sample_chunks import chunk_size
from flax_dynconv.ops.per_sample_conv import _rows
from flax_dynconv.ops.per_sample_conv import costs as per_sample


def work(form: str, case) -> tuple[dict, dict]:
    """What a form does."""
    return of.settled(_FORMS[form](case))


def _mixing(case):
    """Kernels mixed as an array: (forward, forward with gradients)."""
    size = of.weights(case.spec)
    one = {'mixing': 2 * case.samples * case.num_kernels * size, 'kernels': 4 * case.samples * size}
    bank = {'bank': 4 * case.num_kernels * size}
    gradient = add(weighted([(3, one)]), weighted([(3, bank)]), of.temporaries(8 * case.samples * size))
    return add(one, bank, of.temporaries(4 * case.samples * size)), gradient


def _with_mixed(form):
    """The form of `per_sample_conv` on mixed kernels."""

    def both(case):
        forward, gradient = per_sample.unsettled(form, case.spec, case.samples, case.itemsize)
        mix, mix_gradient = _mixing(case)
        return add(forward, mix), add(gradient, mix_gradient)

    return both


def _patches(case):
    spec = case.spec
    if case.num_kernels > 1 or case.per_output or spec.groups > 1:
        return _with_mixed('patches')(case)
    copied = of.patches(spec, case.samples) * case.itemsize
    product = of.flops(spec, case.samples)
    forward = {'matmul': product, 'patches': copied, 'elements': 2 * copied, 'call': 1}
    gradient = {'matmul': 2 * product, 'patches': copied, 'deposit': copied, 'elements': 4 * copied}
    return add(forward, of.temporaries(2 * copied)), add(forward, gradient, of.temporaries(4 * copied))


def _blocks(case):
    """Block by block of the bank: mixing, columns and sums stay in cache."""
    spec, samples = case.spec, case.samples
    steps = spec.num_taps * KernelBlocks.of(spec, samples, case.dtype).parts
    mixing = 2 * samples * case.num_kernels * of.weights(spec)
    # Strided slices are gathered element by element of a position.
    columns = 4 * of.patches(spec, samples) * (1 if spec.unit_strides else 2)
    y, x = 4 * of.outputs(spec, samples) * steps, 4 * of.inputs(spec, samples) * spec.num_taps
    bank = 4 * case.num_kernels * of.weights(spec)
    one = of.products(spec, samples)
    # Of arrays that do not fit the cache together every step reads from memory, which takes about twice as long.
    whole = 4 * (of.inputs(spec, samples) + of.outputs(spec, samples))
    slower = 2 if whole > SHARED_BYTES else 1
    moved = slower * (columns + y)
    forward = add(one, {'mixing': mixing, 'columns': moved, 'bank': bank, 'steps': steps, 'call': 1})
    # The gradient of the bank is added up chunk by chunk of samples.
    chunks = _chunks(case)
    slower = 2 if 2 * whole / chunks > SHARED_BYTES else 1
    moved = slower * (columns + x + y)
    more = {'mixing': 3 * mixing, 'columns': moved, 'bank': 3 * chunks * bank, 'steps': 2 * chunks * steps}
    return forward, add(forward, weighted([(2, one)]), more)


def _chunks(case):
    """Chunks of samples of a backward pass."""
    bank = 4 * case.num_kernels * of.weights(case.spec)
    return case.samples // max(1, chunk_size(case.samples, bank)) or 1


def _columns(case):
    """Tap by tap of the bank: as many static products as kernels; columns and sums stay in cache."""
    spec, samples, k = case.spec, case.samples, case.num_kernels
    y = 4 * of.outputs(spec, samples) * spec.num_taps
    columns = 4 * k * of.patches(spec, samples)
    bank = 4 * k * of.weights(spec)
    amount = k * of.flops(spec, samples)
    forward = {'matmul': amount, 'columns': columns + y, 'bank': bank, 'steps': spec.num_taps, 'call': 1}
    gradient = {'matmul': 2 * amount, 'columns': 3 * columns + 2 * y, 'bank': 3 * bank, 'steps': 2 * spec.num_taps}
    # The columns of one tap, scaled for every kernel; in the gradient their cotangents as well.
    one_tap = columns / spec.num_taps
    return add(forward, of.temporaries(one_tap)), add(forward, gradient, of.temporaries(2 * one_tap))


def _loop(case):
    """Sample by sample forward; backward in rows, else as blocks, else as patches."""
    spec, samples, size = case.spec, case.samples, of.weights(case.spec)
    forward, _ = per_sample.one_by_one(spec, samples, case.itemsize)
    bank = 4 * case.num_kernels * size
    # A bank that stays in cache is read from memory once, not for every sample.
    mixing = {'mixing': 2 * samples * case.num_kernels * size, 'bank': bank if bank <= CACHED_BYTES else samples * bank}
    forward = add(forward, mixing)
    if _rows.suits(spec, samples // _chunks(case), case.dtype):
        return forward, add(forward, per_sample.in_rows(spec, samples), _mixing(case)[1])
    other = _blocks if case.declines('blocks') is None else _with_mixed('patches')
    other = _columns if case.num_kernels == 1 and case.declines('columns') is None else other
    whole, gradient = other(case)
    return forward, add(forward, gradient, weighted([(-1, whole)]))


def _features_in(case):
    spec, samples, k = case.spec, case.samples, case.num_kernels
    passes = case.itemsize * k * (of.inputs(spec, samples) + of.outputs(spec, samples))
    if not case.taps:
        return _features(case, passes)
    scaled = case.itemsize * k * of.patches(spec, samples)
    amount = k * of.flops(spec, samples)
    forward = {'matmul': amount, 'elements': 2 * scaled, 'call': 1}
    gradient = {'matmul': 2 * amount, 'elements': 6 * scaled}
    return add(forward, of.temporaries(scaled)), add(forward, gradient, of.temporaries(2 * scaled))


def _features_out(case):
    return _features(case, 2 * case.itemsize * case.num_kernels * of.outputs(case.spec, case.samples))


def _features(case, passes):
    """As many static convolutions as kernels, and `passes` bytes of elementwise passes."""
    forward, gradient = of.static_conv(case.spec, case.samples)
    k, bank = case.num_kernels, {'bank': 4 * case.num_kernels * of.weights(case.spec)}
    forward = add(weighted([(k, forward)]), bank, {'elements': passes, 'call': 1}, of.temporaries(passes))
    gradient = add(weighted([(k, gradient)]), weighted([(3, bank)]), {'elements': 3 * passes, 'call': 1})
    return forward, add(gradient, of.temporaries(2 * passes))


_FORMS = {
    'reference': _with_mixed('reference'),
    'grouped': _with_mixed('grouped'),
    'patches': _patches,
    'loop': _loop,
    'blocks': _blocks,
    'columns': _columns,
    'features_in': _features_in,
    'features_out': _features_out,
    'taps': _with_mixed('taps'),
}
