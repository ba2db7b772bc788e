"""Make a Flax network dynamic by passing another `conv`; the network itself knows nothing of this library.

Run: python examples/swap_conv.py
"""

from functools import partial

import jax
from flax import linen as nn

from flax_dynconv import CondConv, DynamicConv, ODConv, count, set_temperature


class Net(nn.Module):
    """Any network that takes its convolution as an argument."""

    conv: type = nn.Conv

    @nn.compact
    def __call__(self, x):
        x = nn.relu(self.conv(16, (3, 3), strides=2, name='conv1')(x))
        x = nn.relu(self.conv(32, (3, 3), strides=2, name='conv2')(x))
        return nn.Dense(10, name='head')(x.mean((1, 2)))


def main():
    x = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
    for name, conv in {
        'nn.Conv': nn.Conv,
        'CondConv': partial(CondConv, num_kernels=8),
        'DynamicConv': DynamicConv,
        'ODConv': partial(ODConv, num_kernels=4),
    }.items():
        cost = count(Net(conv), x)
        print(f'{name:12} {cost.parameters:7,} parameters {cost.multiply_adds:9,} multiply-adds per image')

    net = Net(partial(ODConv, num_kernels=4))
    variables = jax.jit(net.init)(jax.random.key(1), x)
    # Training: ODConv's attention has a batch norm, whose statistics are updated where they are mutable.
    warm = set_temperature(variables, 30.0)
    logits, updates = jax.jit(partial(net.apply, mutable=['batch_stats']))(warm, x)
    # Evaluation, and a look at the attention of conv2: one row for each image, one column for each kernel.
    logits, shown = jax.jit(partial(net.apply, mutable=['intermediates']))({**variables, **updates}, x)
    print('logits', logits.shape, 'and attention of conv2:')
    for row in shown['intermediates']['conv2']['attention_kernel'][0]:
        print('  '.join(f'{weight:.3f}' for weight in row))


if __name__ == '__main__':
    main()
