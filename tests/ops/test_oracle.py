"""The oracle itself, against static convolutions of lax, `nn.Conv` and PyTorch, and against directional differences."""

import itertools

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import lax

from tests import oracle
from tests.tolerances import distance
from tests.x64 import x64

BOUND = 1e-12
SPATIAL = {1: (7,), 2: (6, 5), 3: (4, 3, 4)}
KERNEL = {1: (3,), 2: (3, 2), 3: (2, 3, 1)}


def draw(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def operands(rank, groups=1, batch=2):
    return draw(rank, (batch, *SPATIAL[rank], 4), (batch, *KERNEL[rank], 4 // groups, 8))


STATIC = {
    'stride': {'strides': 2, 'padding': 'SAME'},
    'valid': {'padding': 'VALID'},
    'amount': {'padding': 2, 'kernel_dilation': 2},
    'dilated_input': {'padding': 1, 'input_dilation': 2, 'strides': 3},
    'groups': {'feature_group_count': 2},
    'depthwise': {'feature_group_count': 4, 'strides': 2},
}


@pytest.mark.parametrize('rank', [1, 2, 3])
@pytest.mark.parametrize('options', STATIC.values(), ids=STATIC)
def test_static_convolution_and_its_gradients(rank, options):
    x, kernel = operands(rank, options.get('feature_group_count', 1))
    spatial = 'DHW'[-rank:]

    def static(x, w):
        padding = options.get('padding', 'SAME')
        return lax.conv_general_dilated(
            x,
            w,
            [options.get('strides', 1)] * rank,
            [(padding, padding)] * rank if isinstance(padding, int) else padding,
            [options.get('input_dilation', 1)] * rank,
            [options.get('kernel_dilation', 1)] * rank,
            (f'N{spatial}C', f'{spatial}IO', f'N{spatial}C'),
            options.get('feature_group_count', 1),
        )

    with x64():
        pairs = [jax.vjp(static, x[b : b + 1], kernel[b]) for b in range(len(x))]
        y = np.concatenate([y for y, _ in pairs])
        (g,) = draw(9, y.shape)
        gradients = [pull(g[b : b + 1]) for b, (_, pull) in enumerate(pairs)]
    assert distance(oracle.per_sample_conv(x, kernel, **options), y) < BOUND
    dx, dkernel = oracle.per_sample_conv_gradients(x, kernel, g, **options).values()
    assert distance(dx, np.concatenate([d for d, _ in gradients])) < BOUND
    assert distance(dkernel, np.stack([d for _, d in gradients])) < BOUND


@pytest.mark.parametrize('rank', [1, 2, 3])
@pytest.mark.parametrize('padding', ['SAME', 'VALID', 'CIRCULAR', 'REFLECT', 'CAUSAL', 'pairs', 'crop'])
def test_paddings_mean_what_they_mean_in_flax(rank, padding):
    if padding == 'CAUSAL' and rank > 1:
        pytest.skip("'CAUSAL' is for one dimension")
    x, kernel = operands(rank, batch=1)
    amounts = {'pairs': [(d, 2 - d) for d in range(rank)], 'crop': [(-1, 2)] * rank}.get(padding, padding)
    for stride, dilation in [(1, 1), (2, 1), (1, 2)]:
        layer = nn.Conv(
            8, KERNEL[rank], strides=stride, padding=amounts, kernel_dilation=dilation, use_bias=False, dtype='float64'
        )
        with x64():
            expected = layer.apply({'params': {'kernel': kernel[0]}}, x)
        y = oracle.per_sample_conv(x, kernel, strides=stride, padding=amounts, kernel_dilation=dilation)
        assert distance(y, expected) < BOUND


@pytest.mark.parametrize('mode', ['zeros', 'reflect', 'replicate', 'circular'])
@pytest.mark.parametrize('rank', [1, 2, 3])
def test_padding_modes_against_torch(mode, rank):
    torch = pytest.importorskip('torch', reason='compares the oracle with torch')
    x, kernel = operands(rank, groups=2)
    pads = [(1, 2)] + [(2, 1)] * (rank - 1)
    tx, tk = (torch.tensor(a, requires_grad=True) for a in (x, kernel))
    name = {'zeros': 'constant'}.get(mode, mode)
    padded = torch.nn.functional.pad(torch.movedim(tx, -1, 1), [v for p in reversed(pads) for v in p], mode=name)
    conv = getattr(torch.nn.functional, f'conv{rank}d')
    # The batch folded into channel groups.
    weight = tk.permute(0, rank + 2, rank + 1, *range(1, rank + 1)).reshape(16, 2, *KERNEL[rank])
    y = conv(padded.reshape(1, 8, *padded.shape[2:]), weight, stride=2, groups=4)
    y = torch.movedim(y.reshape(2, 8, *y.shape[2:]), 1, -1)
    (g,) = draw(5, y.shape)
    y.backward(torch.tensor(g))
    options = {'padding': pads, 'padding_mode': mode, 'strides': 2, 'feature_group_count': 2}
    assert distance(oracle.per_sample_conv(x, kernel, **options), y.detach().numpy()) < BOUND
    dx, dkernel = oracle.per_sample_conv_gradients(x, kernel, g, **options).values()
    assert distance(dx, tx.grad.numpy()) < BOUND
    assert distance(dkernel, tk.grad.numpy()) < BOUND


@pytest.mark.parametrize(('g', 'dilation'), list(itertools.product([1, 2, 4], [1, 2])))
def test_per_position_against_torch_unfold(g, dilation):
    torch = pytest.importorskip('torch', reason='compares the oracle with torch')
    x, kernels = draw(g, (2, 6, 5, 4), (2, 3, 3, 3, 2, g))
    tx, tk = (torch.tensor(a, requires_grad=True) for a in (x, kernels))
    pad = (dilation, 1)
    columns = torch.nn.functional.unfold(tx.permute(0, 3, 1, 2), (3, 2), dilation, pad, 2)
    out = oracle.terms((6, 5), (3, 2), strides=2, padding=pad, kernel_dilation=dilation)[0]
    kernels, tk = kernels[:, :, : out[1]], tk[:, :, : out[1]]
    tk.retain_grad()
    columns = columns.reshape(2, 4, 6, *out)
    weights = tk.reshape(2, *out, 6, g).permute(0, 4, 3, 1, 2).repeat_interleave(4 // g, 1)
    y = (columns * weights).sum(2).permute(0, 2, 3, 1)
    (cotangent,) = draw(7, y.shape)
    y.backward(torch.tensor(cotangent))
    options = {'strides': 2, 'padding': pad, 'kernel_dilation': dilation}
    assert distance(oracle.per_position_conv(x, kernels, **options), y.detach().numpy()) < BOUND
    dx, dkernels = oracle.per_position_conv_gradients(x, kernels, cotangent, **options).values()
    assert distance(dx, tx.grad.numpy()) < BOUND
    assert distance(dkernels, tk.grad.numpy()) < BOUND


def test_mixture_is_the_convolution_with_the_scaled_mixed_kernel():
    x, bank, a, s_in, s_out, s_tap = draw(3, (2, 6, 5, 4), (3, 3, 2, 2, 6), (2, 3, 6), (2, 4), (2, 6), (2, 3, 2))
    # Input channel i of group j is channel 2 j + i of x; outputs 3 j .. 3 j + 2 belong to group j.
    inputs = s_in[:, [[0, 0, 0, 2, 2, 2], [1, 1, 1, 3, 3, 3]]]
    kernel = np.einsum('bko,kyxio,byx,bio,bo->byxio', a, bank, s_tap, inputs, s_out)
    options = {'feature_group_count': 2, 'strides': 2, 'padding': 1}
    expected = oracle.per_sample_conv(x, kernel, **options)
    scales = {'input_scale': s_in, 'output_scale': s_out, 'tap_scale': s_tap}
    assert distance(oracle.mixture_conv(x, bank, a, **scales, **options), expected) < BOUND


@pytest.mark.parametrize('per_output', [False, True])
def test_mixture_gradients_are_directional_differences(per_output):
    # The function is linear in every single operand, so that a difference quotient is exact up to rounding.
    shapes = {
        'x': (2, 5, 4),
        'kernels': (3, 2, 2, 6),
        'weights': (2, 3, 6) if per_output else (2, 3),
        'input_scale': (2, 4),
        'output_scale': (2, 6),
        'tap_scale': (2, 2),
    }
    values = dict(zip(shapes, draw(1, *shapes.values()), strict=True))
    options = {'feature_group_count': 2, 'strides': 2, 'padding': 1, 'padding_mode': 'reflect'}

    def value(operands):
        return oracle.mixture_conv(**operands, **options)

    y = value(values)
    (g,) = draw(2, y.shape)
    gradients = oracle.mixture_conv_gradients(**values, g=g, **options)
    assert set(gradients) == set(shapes)
    for name, direction in zip(shapes, draw(4, *shapes.values()), strict=True):
        slope = np.sum(g * (value(values | {name: values[name] + direction}) - y))
        assert distance(np.sum(gradients[name] * direction), slope) < BOUND


def test_per_position_full_form_is_a_matrix_per_tap():
    x, kernels = draw(6, (2, 4, 3, 2), (2, 4, 3, 3, 3, 2, 5))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    expected = np.einsum('bijcyx,bijyxco->bijo', windows, kernels)
    assert distance(oracle.per_position_conv(x, kernels), expected) < BOUND
    (g,) = draw(8, expected.shape)
    gradients = list(oracle.per_position_conv_gradients(x, kernels, g).values())
    for position, direction in enumerate(draw(4, x.shape, kernels.shape)):
        moved = [x, kernels]
        moved[position] = direction
        slope = np.sum(g * oracle.per_position_conv(*moved))
        assert distance(np.sum(gradients[position] * direction), slope) < BOUND
