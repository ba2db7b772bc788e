"""The initial values of PyTorch's convolutions: what is drawn where nobody says otherwise."""

import jax
from flax import linen as nn

# U(-1, 1) / sqrt(fan_in), for the weight and the bias.
torch_kernel = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


def torch_bias(fan_in: int) -> nn.initializers.Initializer:
    """The law of a bias next to a kernel of this `fan_in`."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)
