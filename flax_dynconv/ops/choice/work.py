"""Work by kind: what forms are made of, counted from static sizes in floating-point operations and bytes.

| kind | unit | what |
|---|---|---|
| conv, conv_gradient | flop | a static convolution, all samples at once; its two adjoints |
| pointwise, pointwise_gradient | flop | the same, where the kernel has one tap |
| grouped, grouped_gradient | flop | the same with feature groups (depthwise too) |
| sample_conv, sample_pointwise | flop | a static convolution of one sample, with several taps and with one |
| matmul | flop | matrix products that all samples share |
| product | flop | batched matrix products, one for every sample |
| narrow | flop | matrix products with less than 16 rows or columns |
| vmap, vmap_gradient | flop | XLA's convolution with a group per sample; its weight gradient, batch times as many |
| taps, taps_gradient | flop | multiply-adds in an elementwise pass; its adjoints |
| unrolled, network | flop | small networks written out as multiply-adds; as matrix products in blocks |
| mixing | flop | the bank times the weights, and its adjoints |
| bank | byte | reading the bank from memory |
| kernels | byte | writing and reading the samples' kernels as an array |
| patches, deposit | byte | slices gathered into an array of patches; patches added back |
| columns | byte | slices of a block or chunk, which stay in cache |
| elements | byte | elementwise passes over arrays |
| fresh | byte | temporaries beyond those whose memory the allocator keeps: every page of them is a page fault |
| steps | 1 | iterations of a loop |
| call | 1 | the call itself |
"""

from collections.abc import Iterable

from flax_dynconv.ops._conv_spec import ConvSpec

KINDS = (
    'conv', 'conv_gradient', 'pointwise', 'pointwise_gradient', 'grouped', 'grouped_gradient', 'sample_conv',
    'sample_pointwise', 'matmul', 'product', 'narrow', 'vmap', 'vmap_gradient', 'taps', 'taps_gradient', 'unrolled',
    'network', 'mixing', 'bank', 'kernels', 'patches', 'deposit', 'columns', 'elements', 'fresh', 'steps', 'call',
)  # fmt: skip

# Seconds of a unit that no machine is far below: where a fit begins that has nothing better to begin with.
_COUNTED, _BYTES = {'steps', 'call'}, {'bank', 'kernels', 'patches', 'deposit', 'columns', 'elements', 'fresh'}
LEAST = {kind: 1e-6 if kind in _COUNTED else 1e-11 if kind in _BYTES else 1e-12 for kind in KINDS}

# Temporaries up to here are in memory that the process already has.
KEPT_BYTES = 32 * 2**20
# Arrays up to here stay in the cache while a loop reads them again and again.
CACHED_BYTES = 12 * 2**20
# The cache that all cores share.
SHARED_BYTES = 24 * 2**20
_TEMPORARIES = 'temporaries'
# Matrix products with fewer rows or columns leave most of a vector register empty.
NARROW = 16


def add(*works: dict[str, float]) -> dict[str, float]:
    """The sum of several works."""
    return weighted((1, work) for work in works)


def weighted(works: Iterable[tuple[float, dict[str, float]]]) -> dict[str, float]:
    """The sum of works, each so many times."""
    total = {}
    for factor, work in works:
        for kind, amount in work.items():
            total[kind] = total.get(kind, 0) + factor * amount
    return total


def temporaries(size: float) -> dict[str, float]:
    """So many bytes of arrays that live for a while; `settled` makes 'fresh' of what they are together."""
    return {_TEMPORARIES: size}


def settled(works: tuple[dict, dict]) -> tuple[dict, dict]:
    """Works whose temporaries are all counted, by their final kinds."""
    return tuple(
        {kind: amount for kind, amount in work.items() if kind != _TEMPORARIES}
        | {'fresh': max(0, work.get(_TEMPORARIES, 0) - KEPT_BYTES)}
        for work in works
    )


def flops(spec: ConvSpec, samples: int) -> int:
    """Floating-point operations of one convolution."""
    return 2 * samples * spec.num_positions * spec.num_taps * spec.in_features // spec.groups * spec.out_features


def weights(spec: ConvSpec) -> int:
    """Numbers in one kernel."""
    return spec.num_taps * spec.in_features // spec.groups * spec.out_features


def inputs(spec: ConvSpec, samples: int) -> int:
    """Numbers in the input."""
    total = samples * spec.in_features
    for n in spec.in_spatial:
        total *= n
    return total


def outputs(spec: ConvSpec, samples: int) -> int:
    """Numbers in the output."""
    return samples * spec.num_positions * spec.out_features


def patches(spec: ConvSpec, samples: int) -> int:
    """Numbers in the patches of the input."""
    return samples * spec.num_positions * spec.num_taps * spec.in_features


def static_conv(spec: ConvSpec, samples: int) -> tuple[dict, dict]:
    """A static convolution, forward and forward with both gradients."""
    kind = 'grouped' if spec.groups > 1 else 'conv' if spec.num_taps > 1 else 'pointwise'
    amount = flops(spec, samples)
    return {kind: amount}, {kind: amount, f'{kind}_gradient': 2 * amount}


def products(spec: ConvSpec, samples: int) -> dict[str, float]:
    """The convolution as one matrix product for every sample (and group) on its patches."""
    narrow = min(spec.out_features // spec.groups, spec.in_features // spec.groups) < NARROW
    return {'narrow' if narrow else 'product': flops(spec, samples)}
