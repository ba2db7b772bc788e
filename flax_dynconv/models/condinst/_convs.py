"""The convolutions of CondInst's parts, in the dtypes of the part that makes them."""

from flax import linen as nn

# U(-1, 1) * sqrt(3 / fan_in): `kaiming_uniform_(a=1)`, what AdelaiDet and detectron2 draw around a pyramid.
uniform_fan_in = nn.initializers.variance_scaling(1.0, 'fan_in', 'uniform')
# What FCOS draws in its head.
small_normal = nn.initializers.normal(0.01)


def conv(part, features, size, name, strides=1, **fields):
    """`nn.Conv` with a bias and size // 2 zeros on both sides, in the dtypes of the module `part`."""
    fields = {'dtype': part.dtype, 'param_dtype': part.param_dtype, 'precision': part.precision, **fields}
    pad = (size // 2, size // 2)
    return nn.Conv(features, (size, size), strides=(strides, strides), padding=(pad, pad), name=name, **fields)
