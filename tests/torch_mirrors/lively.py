"""Weights in which every parameter has a say, for comparing networks."""

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

# Heads of attention and routing are steep, so that samples differ: means over space differ little. Less so behind a
# norm, where they differ much already: steeper ones make gradients explode, and with them the rounding errors.
_HEADS = {
    '_fc.weight': 1.5,
    'attention.fc2.weight': 3,
    'routing_fn.weight': 3,
    'coefficients.out.weight': 3,
}


def lively(module, seed=0, inputs=None, steepness=1.0):
    """The module in float64, every parameter and buffer drawn anew: no zero bias, no unit scale, attentions differ.

    With inputs the running statistics are those of a pass over them, so that nothing fades out in evaluation mode
    either; without, means are near 0 and variances near 1. Deep networks whose attentions have norms of their own
    amplify rounding errors less with a steepness below 1.
    """
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for path, owner in module.named_modules():
            for name, tensor in [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]:
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.copy_(_draw(owner, f'{path}.{name}', tensor, noise, steepness))
        if inputs is not None:
            _calibrate(module, inputs)
    return module


def _draw(owner, name, tensor, noise, steepness):
    if not tensor.is_floating_point():
        return torch.full_like(tensor, 5)
    norm = isinstance(owner, (_BatchNorm, nn.GroupNorm)) or hasattr(owner, 'running_var')
    if name.endswith(('running_var', '.scale')) or (norm and name.endswith('weight')):
        return 1 + 0.3 * noise.tanh()
    if tensor.ndim < 2 or name.endswith('bias'):
        return 0.2 * noise
    gain = next((steepness * gain for end, gain in _HEADS.items() if name.endswith(end)), math.sqrt(2))
    return gain / math.sqrt(_fan_in(owner, tensor)) * noise


def _fan_in(owner, tensor):
    if isinstance(owner, (nn.Linear, _ConvNd)):
        return tensor[0].numel()
    if tensor.ndim == 2:  # a bank of flattened kernels, whose owner knows their shape
        return math.prod(owner.shape[1:])
    return tensor[0, 0].numel()  # a bank (K, Cout, Cin/g, *kernel_size)


def _calibrate(module, inputs):
    training = module.training
    module.eval()
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    module(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.train(training)
