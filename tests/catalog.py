"""Every layer that is a drop-in for `nn.Conv`, one line each; the laws in tests/layers hold for all of them."""

from functools import partial

from flax_dynconv.layers import (
    CondConv,
    DynamicConv,
    DyNetConv,
    ODConv,
    ODConvNormAct,
    PlainODConv,
    SoftmaxDyNetConv,
)

# Small banks: the laws are about structure, and compile time grows with K.
CATALOG = {
    'CondConv': partial(CondConv, num_kernels=3),
    'DynamicConv': partial(DynamicConv, num_kernels=3),
    'DyNetConv': partial(DyNetConv, num_kernels=3),
    'DyNetConv two-layer': partial(DyNetConv, num_kernels=2, reduction=0.5),
    'ODConv': partial(ODConv, num_kernels=3),
    'ODConv 1x': partial(ODConv, num_kernels=1),
    'SoftmaxDyNetConv': partial(SoftmaxDyNetConv, num_kernels=3),
    'PlainODConv': partial(PlainODConv, num_kernels=2),
    'ODConvNormAct': partial(ODConvNormAct, num_kernels=2),
}

FEATURES, KERNEL_SIZE, INPUT_SHAPE = 6, (3, 3), (3, 5, 4, 6)


def make(name, **fields):
    """A layer of the catalogue at the sizes of the laws."""
    return CATALOG[name](FEATURES, KERNEL_SIZE, **fields)
