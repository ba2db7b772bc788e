"""The operators and their gradients as float64 numpy loops, one term at a time; shares no code with the library.

Every operator is one sum of products over *terms*: output position p, tap t and the input position s that tap t reads
at p. `terms` enumerates them; a forward loop adds the products up, a gradient loop scatters the same products into
every factor. Arrays are channels last, in the operators' own layouts.
"""

import itertools

import numpy as np


def _tuple(value, n):
    return (value,) * n if isinstance(value, (int, np.integer)) else tuple(value)


def _amounts(padding, size, kernel, stride, input_dilation, kernel_dilation, axis, rank):
    """(low, high, mode) of one spatial axis; mode None leaves the choice to padding_mode."""
    reach = (kernel - 1) * kernel_dilation + 1
    if padding == 'VALID':
        return 0, 0, None
    if padding == 'SAME':  # as many outputs as ceil(size / stride), the odd element on the high side
        size = (size - 1) * input_dilation + 1
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + reach - size, 0)
        return total // 2, total - total // 2, None
    if padding == 'CIRCULAR':
        return (reach - 1) // 2, reach // 2, 'circular'
    if padding == 'REFLECT':
        return (reach - 1) // 2, reach // 2, 'reflect'
    if padding == 'CAUSAL':
        assert rank == 1
        return reach - 1, 0, 'before'
    if isinstance(padding, int):
        return padding, padding, None
    amount = padding[axis]
    return (amount, amount, None) if isinstance(amount, int) else (amount[0], amount[1], None)


def _source(i, size, mode):
    """The index in [0, size) that padded position i (may be negative or >= size) copies, or None for a zero."""
    if mode == 'circular':
        return i % size
    if mode == 'replicate':
        return min(max(i, 0), size - 1)
    if mode == 'reflect':
        while not 0 <= i < size:
            i = -i if i < 0 else 2 * (size - 1) - i
            if size == 1:
                i = 0
        return i
    return i if 0 <= i < size else None


def axis_sources(size, kernel, stride, padding, padding_mode, input_dilation, kernel_dilation, axis=0, rank=1):
    """For one axis: a list over output positions of lists over taps of the input index read, None for a zero."""
    low, high, mode = _amounts(padding, size, kernel, stride, input_dilation, kernel_dilation, axis, rank)
    mode = padding_mode if mode is None else mode
    if mode == 'zeros':  # zeros go around the dilated axis, and a negative amount crops it
        stretched = (size - 1) * input_dilation + 1 if size else 0
        line = [_source(i, stretched, 'zeros') for i in range(-low, stretched + high)]
        line = [None if i is None or i % input_dilation else i // input_dilation for i in line]
    else:  # values are copied from the axis as it is; input dilation then spreads the padded axis
        copies = [_source(i, size, mode) for i in range(-low, size + high)]
        line = []
        for i in copies:
            line += [i, *[None] * (input_dilation - 1)]
        line = line[: len(line) - (input_dilation - 1)]
    reach = (kernel - 1) * kernel_dilation + 1
    outputs = max((len(line) - reach) // stride + 1, 0) if len(line) >= reach else 0
    return [[line[o * stride + t * kernel_dilation] for t in range(kernel)] for o in range(outputs)]


def terms(
    spatial,
    kernel_size,
    *,
    strides=1,
    padding='SAME',
    padding_mode='zeros',
    input_dilation=1,
    kernel_dilation=1,
):
    """(output size, list of (p, t, s)): output position, tap and input position as index tuples."""
    n = len(spatial)
    strides, input_dilation, kernel_dilation = (_tuple(v, n) for v in (strides, input_dilation, kernel_dilation))
    axes = [
        axis_sources(
            spatial[d], kernel_size[d], strides[d], padding, padding_mode, input_dilation[d], kernel_dilation[d], d, n
        )
        for d in range(n)
    ]
    out = tuple(len(axis) for axis in axes)
    found = []
    for p in itertools.product(*map(range, out)):
        for t in itertools.product(*map(range, kernel_size)):
            s = tuple(axes[d][p[d]][t[d]] for d in range(n))
            if None not in s:
                found.append((p, t, s))
    return out, found


def _groups(cin, cout, count):
    """Slices of input and output channels, group by group."""
    i, o = cin // count, cout // count
    return [(slice(j * i, (j + 1) * i), slice(j * o, (j + 1) * o)) for j in range(count)]


def _f64(*arrays):
    return [None if a is None else np.asarray(a, np.float64) for a in arrays]


def per_sample_conv(x, kernel, *, feature_group_count=1, **options):
    """y[b,p,o] = sum_{t,c} x[b,s(p,t),c] kernel[b,t,c,o], c over the channels of o's group."""
    x, kernel = _f64(x, kernel)
    out, found = terms(x.shape[1:-1], kernel.shape[1:-2], **options)
    y = np.zeros((len(x), *out, kernel.shape[-1]))
    for b in range(len(x)):
        for p, t, s in found:
            for i, o in _groups(x.shape[-1], kernel.shape[-1], feature_group_count):
                y[b][p][o] += x[b][s][i] @ kernel[b][t][:, o]
    return y


def per_sample_conv_gradients(x, kernel, g, *, feature_group_count=1, **options):
    """Cotangents for the cotangent g of the output, as a dict with the names of the arguments."""
    x, kernel, g = _f64(x, kernel, g)
    _, found = terms(x.shape[1:-1], kernel.shape[1:-2], **options)
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for b in range(len(x)):
        for p, t, s in found:
            for i, o in _groups(x.shape[-1], kernel.shape[-1], feature_group_count):
                dx[b][s][i] += kernel[b][t][:, o] @ g[b][p][o]
                dkernel[b][t][:, o] += np.outer(x[b][s][i], g[b][p][o])
    return {'x': dx, 'kernel': dkernel}


def _mixture_factors(x, kernels, weights, input_scale, output_scale, tap_scale):
    """All factors with the absent scales as ones and the weights as (B, K, Cout)."""
    x, kernels, weights, input_scale, output_scale, tap_scale = _f64(
        x, kernels, weights, input_scale, output_scale, tap_scale
    )
    batch, cout = len(x), kernels.shape[-1]
    if weights.ndim == 2:
        weights = np.repeat(weights[:, :, None], cout, axis=2)
    input_scale = np.ones((batch, x.shape[-1])) if input_scale is None else input_scale
    output_scale = np.ones((batch, cout)) if output_scale is None else output_scale
    tap_scale = np.ones((batch, *kernels.shape[1:-2])) if tap_scale is None else tap_scale
    return x, kernels, weights, input_scale, output_scale, tap_scale


def mixture_conv(
    x,
    kernels,
    weights,
    *,
    input_scale=None,
    output_scale=None,
    tap_scale=None,
    feature_group_count=1,
    **options,
):
    """y[b,p,o] = sum_{t,c,k} out[b,o] a[b,k,o] in[b,c] tap[b,t] x[b,s(p,t),c] W[k,t,c,o]."""
    x, bank, a, scale_in, scale_out, scale_tap = _mixture_factors(
        x, kernels, weights, input_scale, output_scale, tap_scale
    )
    out, found = terms(x.shape[1:-1], bank.shape[1:-2], **options)
    y = np.zeros((len(x), *out, bank.shape[-1]))
    for b, k in itertools.product(range(len(x)), range(len(bank))):
        for p, t, s in found:
            for i, o in _groups(x.shape[-1], bank.shape[-1], feature_group_count):
                product = (x[b][s][i] * scale_in[b][i]) @ bank[k][t][:, o]
                y[b][p][o] += scale_out[b][o] * a[b][k][o] * scale_tap[b][t] * product
    return y


def mixture_conv_gradients(
    x,
    kernels,
    weights,
    g,
    *,
    input_scale=None,
    output_scale=None,
    tap_scale=None,
    feature_group_count=1,
    **options,
):
    """As for the others; scales that were not given have no cotangent."""
    x, bank, a, scale_in, scale_out, scale_tap = _mixture_factors(
        x, kernels, weights, input_scale, output_scale, tap_scale
    )
    (g,) = _f64(g)
    _, found = terms(x.shape[1:-1], bank.shape[1:-2], **options)
    dx, dbank, da = np.zeros_like(x), np.zeros_like(bank), np.zeros_like(a)
    d_in, d_out, d_tap = np.zeros_like(scale_in), np.zeros_like(scale_out), np.zeros_like(scale_tap)
    for b, k in itertools.product(range(len(x)), range(len(bank))):
        for p, t, s in found:
            for i, o in _groups(x.shape[-1], bank.shape[-1], feature_group_count):
                w, tap, value = bank[k][t][:, o], scale_tap[b][t], x[b][s][i] * scale_in[b][i]
                product, upstream = value @ w, g[b][p][o]
                arriving = w @ (upstream * scale_out[b][o] * a[b][k][o]) * tap
                dx[b][s][i] += scale_in[b][i] * arriving
                d_in[b][i] += x[b][s][i] * arriving
                dbank[k][t][:, o] += np.outer(value, upstream * scale_out[b][o] * a[b][k][o]) * tap
                da[b][k][o] += upstream * scale_out[b][o] * product * tap
                d_out[b][o] += upstream * a[b][k][o] * product * tap
                d_tap[b][t] += np.sum(upstream * scale_out[b][o] * a[b][k][o] * product)
    found = {'x': dx, 'kernels': dbank, 'weights': da.sum(-1) if np.ndim(weights) == 2 else da}
    given = {'input_scale': (input_scale, d_in), 'output_scale': (output_scale, d_out), 'tap_scale': (tap_scale, d_tap)}
    return found | {name: gradient for name, (scale, gradient) in given.items() if scale is not None}


def per_position_conv(x, kernels, **options):
    """y[b,p,c] = sum_t kernels[b,p,t,c // (Cin/G)] x[b,s,c], or y[b,p,o] = sum_{t,c} kernels[b,p,t,c,o] x[b,s,c]."""
    x, kernels = _f64(x, kernels)
    n, cin = x.ndim - 2, x.shape[-1]
    full = kernels.ndim == 2 * n + 3
    out, found = terms(x.shape[1:-1], kernels.shape[1 + n : 1 + 2 * n], **options)
    assert kernels.shape[1 : 1 + n] == out
    y = np.zeros((len(x), *out, kernels.shape[-1] if full else cin))
    for b in range(len(x)):
        for p, t, s in found:
            if full:
                y[b][p] += x[b][s] @ kernels[b][p][t]
            else:
                for c in range(cin):
                    y[b][p][c] += x[b][s][c] * kernels[b][p][t][c // (cin // kernels.shape[-1])]
    return y


def per_position_conv_gradients(x, kernels, g, **options):
    """Cotangents for the cotangent g of the output, as a dict with the names of the arguments."""
    x, kernels, g = _f64(x, kernels, g)
    n, cin = x.ndim - 2, x.shape[-1]
    _, found = terms(x.shape[1:-1], kernels.shape[1 + n : 1 + 2 * n], **options)
    dx, dkernels = np.zeros_like(x), np.zeros_like(kernels)
    for b in range(len(x)):
        for p, t, s in found:
            if kernels.ndim == 2 * n + 3:
                dx[b][s] += kernels[b][p][t] @ g[b][p]
                dkernels[b][p][t] += np.outer(x[b][s], g[b][p])
            else:
                for c in range(cin):
                    j = c // (cin // kernels.shape[-1])
                    dx[b][s][c] += kernels[b][p][t][j] * g[b][p][c]
                    dkernels[b][p][t][j] += x[b][s][c] * g[b][p][c]
    return {'x': dx, 'kernels': dkernels}
