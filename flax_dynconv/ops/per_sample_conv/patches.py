"""Shifted slices gathered into patches, then one batched matrix product: the form that shards without a gather.

Patches come from prod(kernel_size) static slices, not from `lax.conv_general_dilated_patches`, which is itself a
grouped convolution. The products have one leading batch dimension and accumulate in float32 or wider.
"""

import jax.numpy as jnp


def declines(spec, batch):
    """Nothing is declined."""
    return None


def extract(spec, x):
    """The patches of x: (B, P, T, Cin) for P output positions and T taps."""
    padded = spec.pad(x)
    taps = [spec.tap_slice(padded, tap) for tap in spec.taps()]
    shape = (x.shape[0], spec.num_positions, spec.in_features)
    taps = [tap.reshape(shape) for tap in taps]
    return taps[0][:, :, None] if len(taps) == 1 else jnp.stack(taps, axis=2)


def deposit(spec, patches):
    """The adjoint of `extract`: every patch added back where it was read."""
    shape = (patches.shape[0], *spec.out_spatial, spec.in_features)
    placed = (spec.tap_unslice(patches[:, :, i].reshape(shape), tap) for i, tap in enumerate(spec.taps()))
    return spec.undilate(sum_arrays(placed))


def sum_arrays(arrays):
    """The sum of a non-empty iterable of arrays, without the scalar start of the built-in."""
    total = None
    for array in arrays:
        total = array if total is None else total + array
    return total


def contract_dtype(*arrays):
    """The dtype that sums accumulate in: float32 or wider."""
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def contract(equation, a, b, out_dtype, precision):
    """One einsum in the wider of both dtypes, accumulated in float32 or wider, cast once."""
    dtype = jnp.promote_types(a.dtype, b.dtype)
    acc = jnp.promote_types(dtype, jnp.float32)
    a, b = a.astype(dtype), b.astype(dtype)
    return jnp.einsum(equation, a, b, precision=precision, preferred_element_type=acc).astype(out_dtype)


def _split_groups(spec, patches):
    """(B, P, T, Cin) -> (B, P, T, g, Cin/g), or (B, P, T*Cin) without groups."""
    b, p, t, c = patches.shape
    return patches.reshape(b, p, t, spec.groups, c // spec.groups) if spec.groups > 1 else patches.reshape(b, p, t * c)


def _kernel_matrix(spec, w):
    """(B, *kernel_size, Cin/g, Cout) -> (B, T, Cin/g, g, Cout/g), or (B, T*Cin, Cout) without groups."""
    t, c, o, g = spec.num_taps, spec.in_features, spec.out_features, spec.groups
    return w.reshape(w.shape[0], t, c // g, g, o // g) if g > 1 else w.reshape(w.shape[0], t * c, o)


def _output_matrix(spec, y):
    """(B, *out_spatial, Cout) -> (B, P, g, Cout/g), or (B, P, Cout) without groups."""
    g, o = spec.groups, spec.out_features
    return y.reshape(y.shape[0], spec.num_positions, *((g, o // g) if g > 1 else (o,)))


def apply(spec, out_dtype, x, w):
    """y = patches(x) w."""
    equation = 'bptgi,btigo->bpgo' if spec.groups > 1 else 'bpi,bio->bpo'
    patches = _split_groups(spec, extract(spec, x))
    y = contract(equation, patches, _kernel_matrix(spec, w), out_dtype, spec.precision)
    return y.reshape(x.shape[0], *spec.out_spatial, spec.out_features)


def adjoint_x(spec, out_dtype, y, w):
    """x = deposit(y w^T)."""
    equation = 'bpgo,btigo->bptgi' if spec.groups > 1 else 'bpo,bio->bpi'
    # The deposit adds up to T numbers: it stays in the accumulation dtype for half types.
    matrices = _output_matrix(spec, y), _kernel_matrix(spec, w)
    patches = contract(equation, *matrices, contract_dtype(y, w), spec.precision)
    patches = patches.reshape(y.shape[0], spec.num_positions, spec.num_taps, spec.in_features)
    return deposit(spec, patches).astype(out_dtype)


def adjoint_w(spec, out_dtype, x, y):
    """w = patches(x)^T y."""
    equation = 'bptgi,bpgo->btigo' if spec.groups > 1 else 'bpi,bpo->bio'
    patches = _split_groups(spec, extract(spec, x))
    w = contract(equation, patches, _output_matrix(spec, y), out_dtype, spec.precision)
    return w.reshape(x.shape[0], *spec.kernel_shape)
