"""save_reference_case: one call of a live PyTorch module as a reference case. The only place that runs torch."""

import contextlib
import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flax_dynconv.convert.api import get_reference
from flax_dynconv.convert.arguments import plain
from flax_dynconv.convert.arrays import as_numpy
from flax_dynconv.convert.cases import Case, save_case
from flax_dynconv.convert.errors import CaseError, suggestion


def save_reference_case(
    path: str | os.PathLike,
    module: Any,
    *,
    reference: str,
    arguments: Mapping[str, Any],
    inputs: Any,
    train: bool = False,
    temperature: float | None = None,
    activations: Sequence[str] = (),
) -> Case:
    """Call a copy of `module` once and write weights, inputs and outputs to `path` (.npz or .safetensors).

    module: a torch.nn.Module; neither its weights nor its mode change.
    reference, arguments: the id and the constructor's arguments from which the Flax module will be built.
    inputs: one tensor or a sequence of them, in the order of `forward`.
    train: call in training mode and save the buffers after it; no dropout may be active.
    temperature: set on every submodule that has an attribute of that name; None takes what is there (1.0 if nothing).
    activations: names of submodules whose outputs are saved too, as in `module.named_modules()`.

    Returns what it wrote. Raises ConversionError for a wrong reference or arguments, and CaseError for an unknown
    activation or one that is no single tensor, temperatures that differ, and dropout in training mode.

    >>> import os, tempfile, torch
    >>> from flax_dynconv import verify
    >>> class CondConv2d(torch.nn.Module):  # a 1x1 convolution with timm's parameters
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = torch.nn.Parameter(torch.randn(4, 6 * 3))
    ...
    ...     def forward(self, x, routing):
    ...         return torch.einsum('boi,bihw->bohw', (routing @ self.weight).view(-1, 6, 3), x)
    >>> path = os.path.join(tempfile.mkdtemp(), 'case.npz')
    >>> arguments = {'in_channels': 3, 'out_channels': 6, 'kernel_size': 1, 'num_experts': 4}
    >>> inputs = (torch.randn(2, 3, 5, 5), torch.rand(2, 4))
    >>> case = save_reference_case(
    ...     path, CondConv2d(), reference='timm.CondConv2d', arguments=arguments, inputs=inputs)
    >>> verify(path).ok
    True
    """
    import torch

    get_reference(reference).signature.bind(reference, arguments)
    inputs = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    if not all(isinstance(x, torch.Tensor) for x in inputs):
        raise CaseError(f'inputs: expected torch tensors, got {[type(x).__name__ for x in inputs]}')
    # JSON holds no module and no numpy scalar.
    arguments = {
        name: type(value).__name__ if isinstance(value, torch.nn.Module) else plain(value)
        for name, value in arguments.items()
    }
    module = copy.deepcopy(module).train(train)
    if train:
        _refuse_dropout(module, torch)
    temperature = _temperature(module, temperature)
    state = {key: as_numpy(value.clone()) for key, value in module.state_dict().items()}
    recorded = {}
    with torch.no_grad(), _recording(module, activations, recorded, torch):
        outputs = module(*(x.clone() for x in inputs))
    buffers = dict(module.named_buffers()) if train else {}
    case = Case(
        reference=reference,
        arguments=dict(arguments),
        state_dict=state,
        inputs=tuple(as_numpy(x) for x in inputs),
        outputs=tuple(as_numpy(y) for y in _flatten(outputs, torch)),
        temperature=temperature,
        train=train,
        state_after={key: as_numpy(value) for key, value in buffers.items() if key in state},
        activations=recorded,
    )
    save_case(path, case)
    return case


def _refuse_dropout(module, torch):
    active = [name or 'the module itself' for name, m in module.named_modules() if _drops(m, torch)]
    if active:
        raise CaseError(
            f'training mode with random dropout in {active}: it cannot be reproduced; build the '
            f'module without it and say so in `arguments` (such as dropout_rate=0)'
        )


def _drops(module, torch):
    """PyTorch's dropout, or a module that keeps a rate under one of timm's names and drops by itself."""
    if isinstance(module, torch.nn.modules.dropout._DropoutNd):
        return module.p > 0
    rates = (getattr(module, name, None) for name in ('drop_prob', 'drop_rate', 'drop_path_rate'))
    return any(isinstance(rate, int | float) and rate > 0 for rate in rates)


def _temperature(module, temperature):
    holders = [m for m in module.modules() if isinstance(getattr(m, 'temperature', None), int | float)]
    if temperature is not None:
        if not 0 < temperature < float('inf'):
            raise CaseError(f'temperature: expected a finite number > 0, got {temperature}')
        if not holders and temperature != 1.0:
            raise CaseError(f'temperature: no submodule has an attribute of that name, expected 1.0, got {temperature}')
        for holder in holders:
            holder.temperature = temperature
        return float(temperature)
    values = {float(holder.temperature) for holder in holders}
    if len(values) > 1:
        raise CaseError(f'temperature: the submodules have different ones, {sorted(values)}; give one')
    return values.pop() if values else 1.0


@contextlib.contextmanager
def _recording(module, names, recorded, torch):
    """Hooks that keep outputs by module name; copied at once, because a ReLU may work in place on them later."""
    known = dict(module.named_modules())
    for name in names:
        if name not in known:
            raise CaseError(f'activations: the module has no submodule {name!r}{suggestion(name, known)}')

    def keep(name):
        def hook(_, __, output):
            if not isinstance(output, torch.Tensor):
                raise CaseError(f'activations: the output of {name!r} is no tensor but {type(output).__name__}')
            recorded.setdefault(name, np.array(as_numpy(output)))

        return hook

    handles = [known[name].register_forward_hook(keep(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _flatten(outputs, torch):
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    if isinstance(outputs, Mapping):
        outputs = outputs.values()
    elif not isinstance(outputs, list | tuple):
        raise CaseError(f'outputs: expected tensors in tuples, lists or dicts, got {type(outputs).__name__}')
    return [tensor for part in outputs for tensor in _flatten(part, torch)]
