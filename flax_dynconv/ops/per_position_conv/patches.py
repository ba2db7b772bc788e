"""Unfold: the patches of x as an array, times the kernels, summed over the taps; the form of the PyTorch codes."""

from flax_dynconv.ops.per_sample_conv.patches import contract, contract_dtype, deposit, extract, sum_arrays


def declines(spec, batch):
    """Nothing is declined."""
    return None


def _patches(spec, x):
    """(B, P, T, Cin), or (B, P, T*Cin) for the full form, or (B, P, T, G, Cin/G)."""
    patches = extract(spec, x)
    return patches.reshape(*patches.shape[:2], -1) if spec.full else spec.split_channels(patches)


def _flat_kernels(spec, w):
    """(B, P, T, G), or (B, P, T*Cin, Cout)."""
    last = (spec.num_taps * spec.in_features, spec.out_features) if spec.full else (spec.num_taps, spec.kernel_count)
    return w.reshape(w.shape[0], spec.num_positions, *last)


def _flat_output(spec, y):
    """(B, P, Cout), or (B, P, G, Cin/G)."""
    y = y.reshape(y.shape[0], spec.num_positions, spec.out_features)
    return y if spec.full else spec.split_channels(y)


def _operands(a, b):
    acc = contract_dtype(a, b)
    return a.astype(acc), b.astype(acc)


def apply(spec, out_dtype, x, w):
    """y = patches(x) w."""
    patches, kernels = _patches(spec, x), _flat_kernels(spec, w)
    if spec.full:
        y = contract('bpi,bpio->bpo', patches, kernels, out_dtype, spec.precision)
    else:
        patches, kernels = _operands(patches, kernels)
        products = patches * kernels[..., None]
        # Written out: for 3x3 taps XLA's CPU reduction over an axis in the middle takes 8 times as long as this sum.
        y = sum_arrays(products[:, :, t] for t in range(spec.num_taps)).astype(out_dtype)
    return y.reshape(x.shape[0], *spec.out_spatial, spec.out_features)


def adjoint_x(spec, out_dtype, y, w):
    """x = deposit(w y)."""
    y, kernels = _operands(_flat_output(spec, y), _flat_kernels(spec, w))
    if spec.full:
        patches = contract('bpo,bpio->bpi', y, kernels, y.dtype, spec.precision)
    else:
        patches = y[:, :, None] * kernels[..., None]
    patches = patches.reshape(y.shape[0], spec.num_positions, spec.num_taps, spec.in_features)
    return deposit(spec, patches).astype(out_dtype)


def adjoint_w(spec, out_dtype, x, y):
    """w = patches(x) y, summed over the channels that share a kernel."""
    patches, y = _operands(_patches(spec, x), _flat_output(spec, y))
    w = patches[..., None] * y[:, :, None] if spec.full else (patches * y[:, :, None]).sum(-1)
    return w.astype(out_dtype).reshape(x.shape[0], *spec.kernel_shape)
