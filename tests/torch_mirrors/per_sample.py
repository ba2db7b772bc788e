"""A convolution with its own kernel for every sample, as one grouped convolution."""

import torch.nn.functional as F

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def conv(x, kernel, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """x (B, Cin, *spatial), kernel (B, Cout, Cin/g, *kernel_size), bias (B, Cout) or None."""
    batch, outputs = kernel.shape[:2]
    y = _CONV[x.ndim - 2](
        x.reshape(1, -1, *x.shape[2:]),
        kernel.reshape(-1, *kernel.shape[2:]),
        None if bias is None else bias.reshape(-1),
        stride,
        padding,
        dilation,
        batch * groups,
    )
    return y.reshape(batch, outputs, *y.shape[2:])


def mean_over_space(x):
    """(B, C, *spatial) to (B, C)."""
    return x.flatten(2).mean(2)
