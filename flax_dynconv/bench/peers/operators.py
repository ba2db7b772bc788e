"""The operators as the published PyTorch codes compute them, in their layouts; NCHW, contiguous.

* `torch_static`: one kernel for all samples, `F.conv2d`.
* `torch_grouped`: kernels mixed by one matrix product, the batch folded into the groups of one `F.conv2d` (CondConv in
  timm, DY-CNN, DCM). ODConv's channel attention is on the input, its filter attention on the output, its spatial and
  kernel attention on the weight, as in OSVAI/ODConv.
* `torch_official`: ODConv with its weight mixed as OSVAI/ODConv does, by broadcasting and a sum.
* `torch_unfold`: kernels per position by `F.unfold`, a product and a sum over the taps (HDFNet, DFN).
"""

import functools

import torch
import torch.nn.functional as F

from flax_dynconv.bench.program import FORWARD, GRADIENT, Built, Program


def programs(workload, drawn):
    """All PyTorch programs of a workload, from arrays in the layouts of JAX."""
    arrays = {name: to_torch(workload, name, array) for name, array in drawn.items()}
    cotangent, static_kernel = arrays.pop('cotangent'), arrays.pop('static_kernel')
    names = tuple(arrays)
    operands = tuple(arrays.values())
    if workload.operator == 'per_position_conv':
        yield from both_directions('torch_unfold', functools.partial(unfolded, workload), operands, cotangent)
    else:
        function = functools.partial(grouped, workload, names, mixed)
        yield from both_directions('torch_grouped', function, operands, cotangent)
        if workload.scales:
            function = functools.partial(grouped, workload, names, mixed_by_broadcasting)
            yield from both_directions('torch_official', function, operands, cotangent)
    yield from both_directions(
        'torch_static', functools.partial(static, workload), (arrays['x'], static_kernel), cotangent
    )


def both_directions(name, function, operands, cotangent, fixed=()):
    """`function(*operands, *fixed)` without a tape, and it with the gradients of the operands."""

    def forward():
        with torch.no_grad():
            return function(*operands, *fixed)

    def gradient():
        leaves = [operand.requires_grad_() for operand in operands]
        return torch.autograd.grad(function(*leaves, *fixed), leaves, cotangent)

    yield Program(name, FORWARD, lambda: Built(forward, {}))
    yield Program(name, GRADIENT, lambda: Built(gradient, {}))


def to_torch(workload, name, array):
    """An array of JAX's layout as a contiguous tensor of PyTorch's."""
    tensor = torch.from_numpy(array)
    if name in ('x', 'cotangent'):
        tensor = tensor.movedim(-1, 1)
    elif name == 'static_kernel':
        tensor = tensor.permute(3, 2, 0, 1)
    elif workload.operator == 'per_position_conv' and workload.kernel_count is None:
        # (B, H, W, kh, kw, Cin, 1) -> (B, Cin, T, H, W): the filters of DFN have one output.
        tensor = tensor[..., 0].permute(0, 5, 3, 4, 1, 2).flatten(2, 3)
    elif workload.operator == 'per_position_conv':
        tensor = tensor.permute(0, 5, 3, 4, 1, 2).flatten(2, 3)
    elif name in ('kernel', 'kernels'):
        tensor = tensor.permute(0, 4, 3, 1, 2)
    return tensor.contiguous()


def padded(workload, x):
    """x and the padding that is left to the convolution; uneven amounts are padded before, as timm does."""
    low_high = workload.spec.padding
    if all(low == high for low, high in low_high):
        return x, tuple(low for low, _ in low_high)
    (top, bottom), (left, right) = low_high
    return F.pad(x, (left, right, top, bottom)), (0, 0)


def static(workload, x, kernel):
    """One convolution with one kernel."""
    x, padding = padded(workload, x)
    groups = workload.in_features // kernel.shape[1]
    return F.conv2d(x, kernel, None, workload.strides, padding, workload.kernel_dilation, groups)


def grouped(workload, names, mix, *operands):
    """One convolution of (1, B * Cin, H, W) with B * g groups."""
    named = dict(zip(names, operands, strict=True))
    x = named['x']
    batch = len(x)
    if 'input_scale' in named:
        x = x * named['input_scale'].view(batch, -1, 1, 1)
    kernel = named['kernel'] if 'kernel' in named else mix(named)
    x, padding = padded(workload, x)
    kernel = kernel.reshape(-1, *kernel.shape[-3:])
    groups = batch * workload.feature_group_count
    x = x.reshape(1, -1, *x.shape[2:])
    y = F.conv2d(x, kernel, None, workload.strides, padding, workload.kernel_dilation, groups)
    y = y.view(batch, -1, *y.shape[2:])
    return y * named['output_scale'].view(batch, -1, 1, 1) if 'output_scale' in named else y


def mixed(named):
    """The mixture by a matrix product: (B, Cout, Cin/g, kh, kw)."""
    weights, bank = named['weights'], named['kernels']
    if weights.ndim == 3:
        kernel = torch.einsum('bko,koiyx->boiyx', weights, bank)
    else:
        kernel = torch.matmul(weights, bank.view(len(bank), -1)).view(len(weights), *bank.shape[1:])
    return kernel * named['tap_scale'][:, None, None] if 'tap_scale' in named else kernel


def mixed_by_broadcasting(named):
    """The mixture as OSVAI/ODConv computes it: an array of all kernels of all samples, summed."""
    factors = named['weights'][:, :, None, None, None, None]
    if 'tap_scale' in named:
        factors = named['tap_scale'][:, None, None, None] * factors
    return (factors * named['kernels']).sum(1)


def unfolded(workload, x, kernels):
    """Patches (B, C, T, H, W) times kernels, summed over the taps; also over the channels of a full filter."""
    spec = workload.spec
    padding = tuple(low for low, _ in spec.padding)
    patches = F.unfold(x, spec.kernel_size, spec.kernel_dilation, padding, spec.strides)
    products = patches.view(*x.shape[:2], -1, *spec.out_spatial) * kernels
    return products.sum((1, 2)).unsqueeze(1) if workload.kernel_count is None else products.sum(2)
