"""One step of SGD in PyTorch and in Flax, in double precision, and what their states must agree in."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.x64 import x64

COUNTER = 'num_batches_tracked'


def torch_sgd_step(module, inputs, labels, lr=0.1, momentum=0.9, weight_decay=1e-4):
    """The mean cross-entropy before the step and the state_dict after it, in numpy; the module stays as it is."""
    import torch

    module = copy.deepcopy(module).double().train()
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    logits = module(torch.as_tensor(inputs).double())
    loss = torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels))
    loss.backward()
    optimizer.step()
    return loss.item(), numpy_state(module)


def numpy_state(module):
    """The state_dict as numpy arrays of their own."""
    return {key: tensor.numpy().copy() for key, tensor in module.state_dict().items()}


def flax_sgd_step(module, variables, inputs, labels, call_kwargs, lr=0.1, momentum=0.9, weight_decay=1e-4, rngs=None):
    """The same on a Flax module and channels-last inputs: the loss, and the variables with what one call changes.

    The decay is added to the gradient of every parameter before the momentum, which begins at zero, as in PyTorch.
    """
    with x64(), jax.default_matmul_precision('highest'):
        optimizer = optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(lr, momentum=momentum))

        def step(variables, inputs, labels):
            rest = {name: tree for name, tree in variables.items() if name != 'params'}

            def loss_of(params):
                logits, changed = module.apply(
                    {**rest, 'params': params}, inputs, **call_kwargs, mutable=['batch_stats'], rngs=rngs
                )
                return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), changed

            params = variables['params']
            (loss, changed), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
            updates, _ = optimizer.update(gradients, optimizer.init(params), params)
            return loss, {**rest, **changed, 'params': optax.apply_updates(params, updates)}

        # Compiling is most of the time, and the numbers are the same without XLA's optimisations.
        step = jax.jit(step, compiler_options={'xla_backend_optimization_level': 0})
        variables = jax.tree.map(jnp.asarray, variables)
        loss, after = jax.device_get(step(variables, np.asarray(inputs, np.float64), np.asarray(labels)))
    return float(loss), after


def compare_states(found, expected, before, rtol=1e-8):
    """State_dicts in PyTorch's layout after a step: each tensor, and each tensor's change, agrees relatively to rtol.

    Raises AssertionError with every tensor that does not; found is Flax's, where the counters of batches stand still.
    """
    faults = []
    if not found.keys() == expected.keys() == before.keys():
        raise AssertionError(f'keys differ: {sorted(found.keys() ^ expected.keys() | found.keys() ^ before.keys())}')
    for key, old in before.items():
        a, b = np.asarray(found[key]), np.asarray(expected[key])
        if a.shape != b.shape:
            faults.append(f'{key}: shape {a.shape}, expected {b.shape}')
        elif key.endswith(COUNTER):
            if not (a == old and b == old + 1):
                faults.append(f'{key}: {a} and {b} after {old}, expected {old} and {old + 1}')
        else:
            error, change = np.abs(a - b).max(), np.abs(b - old).max()
            # What is not a number is a fault, and so is a tensor that PyTorch did not change at all.
            if not (error <= rtol * np.abs(b).max() and error <= rtol * change and change > 0):
                faults.append(f'{key}: differs by {error:.2e} of up to {np.abs(b).max():.2e}, changed by {change:.2e}')
    if faults:
        raise AssertionError(f'{len(faults)} of {len(before)} tensors differ:\n' + '\n'.join(faults))
