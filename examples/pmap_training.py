"""Train a dynamic network with `jax.pmap`: a replica on each device, gradients and statistics averaged by hand.

`jax.pmap` is what much Flax code still uses; `flax-dynconv train` itself uses `jax.jit` over a mesh, which also divides
parameters. The layers work in both. Here the network learns scikit-learn's digits on whatever devices there are.
Run: XLA_FLAGS=--xla_force_host_platform_device_count=2 python examples/pmap_training.py [--epochs 5]
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from flax_dynconv import DynamicConv, set_temperature
from flax_dynconv.training.digits import digits


class Net(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x, train=False):
        for i in range(3):
            x = DynamicConv(self.features * 2**i, (3, 3), strides=1 + (i > 0), use_bias=False, name=f'conv{i + 1}')(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, name=f'bn{i + 1}')(x))
        return nn.Dense(10, name='head')(x.mean((1, 2)))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--epochs', type=int, default=5)
    parser.add_argument('--features', type=int, default=16, help='channels of the first convolution')
    parser.add_argument('--batch-size', type=int, default=64, help='images per step, on all devices together')
    args = parser.parse_args(arguments)
    devices = jax.local_device_count()
    if args.batch_size % devices:
        parser.error(f'--batch-size must be a multiple of the {devices} devices, got {args.batch_size}')

    task = digits()
    model = Net(args.features)
    optimizer = optax.sgd(0.05, momentum=0.9)

    @functools.partial(jax.pmap, axis_name='devices', in_axes=(0, 0, 0, None))
    def train_step(variables, opt_state, batch, temperature):
        """A step on a device's part of the batch; all replicas stay equal, as all add the same mean gradient."""
        variables = set_temperature(variables, temperature)
        params, others = variables['params'], {name: tree for name, tree in variables.items() if name != 'params'}

        def loss(params):
            logits, updates = model.apply(
                {**others, 'params': params}, *task.inputs(batch), train=True, mutable=['batch_stats']
            )
            return task.loss(logits, batch), updates

        (value, updates), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        # Batch norm took the statistics of this device's images; the running ones are averaged, too.
        value, updates, gradient = jax.lax.pmean((value, updates, gradient), 'devices')
        changes, opt_state = optimizer.update(gradient, opt_state, params)
        return {**others, **updates, 'params': optax.apply_updates(params, changes)}, opt_state, value

    @jax.pmap
    def test_step(variables, batch):
        return task.metrics(model.apply(variables, *task.inputs(batch), train=False), batch)

    def divided(batch):
        return jax.tree.map(lambda array: np.reshape(array, (devices, -1, *array.shape[1:])), batch)

    variables = jax.jit(functools.partial(task.init, model))(jax.random.key(0))
    state = (variables, optimizer.init(variables['params']))
    # A copy on each device; the first argument is there to say how many.
    copied = jax.pmap(lambda _, state: state, axis_name='devices', in_axes=(0, None))
    variables, opt_state = copied(jnp.arange(devices), state)
    print(f'{devices} devices with {args.batch_size // devices} images each in a step')
    for epoch in range(args.epochs):
        temperature = 1.0 + 9.0 * (1 - (epoch + 1) / args.epochs)  # of the attention, down to 1
        for batch in task.batches('train', args.batch_size, seed=0, epoch=epoch):
            variables, opt_state, loss = train_step(variables, opt_state, divided(batch), temperature)
        totals = [test_step(variables, divided(batch)) for batch in task.batches('test', args.batch_size)]
        summary = task.summary(jax.tree.map(lambda *arrays: np.sum(arrays), *totals))
        print(f'epoch {epoch + 1}: loss {float(loss[0]):.3f}, test accuracy {summary["accuracy"]:.4f}')
    apart = max(float(np.ptp(array, axis=0).max()) for array in jax.tree.leaves(variables['params']))
    print(f'largest difference between replicas: {apart}')


if __name__ == '__main__':
    main()
