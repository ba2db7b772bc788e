"""The seams that CondConv and DyNet set in every architecture: a convolution, and the routing that a block shares."""

import functools

from flax_dynconv.layers import CondConv, CondConvRouting, DyNetConv, DyNetRouting
from flax_dynconv.models.network import he_fan_out


def condconv_seams(num_kernels):
    """`conv` and `router` of CondConv: one routing for all convolutions of a block.

    >>> sorted(condconv_seams(8))
    ['conv', 'router']
    """
    conv = functools.partial(CondConv, num_kernels=num_kernels, kernel_init=he_fan_out)
    return {'conv': conv, 'router': functools.partial(CondConvRouting, num_kernels=num_kernels)}


def dynet_seams(num_kernels, **routing):
    """`conv` and `router` of DyNet: coefficients for each convolution of a block; `routing` are fields of the router.

    >>> dynet_seams(6, reduction=0.25)['router'].keywords
    {'num_kernels': 6, 'reduction': 0.25}
    """
    conv = functools.partial(DyNetConv, num_kernels=num_kernels, kernel_init=he_fan_out)
    return {'conv': conv, 'router': functools.partial(DyNetRouting, num_kernels=num_kernels, **routing)}
