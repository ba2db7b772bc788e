"""Which Flax module has the output of which PyTorch module, and recording those outputs in order."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import linen as nn

from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.rules import Names

_COLLECTIONS = ('params', 'batch_stats')


class ModuleNames:
    """The Flax path of a PyTorch module's name: modules with parameters, and those the reference adds."""

    def __init__(self, reference: Reference, arguments: Mapping[str, Any]):
        pairs = {}
        for rule in reference.rules(arguments):
            collection, _, path = rule.flax.partition('/')
            # The owner of a parameter is named by what is left without the parameter's own name.
            torch, flax = rule.torch.rpartition('.')[0], path.rpartition('/')[0]
            if collection in _COLLECTIONS and torch and flax:
                pairs.setdefault(torch, ModuleRule(torch, flax))
        pairs |= {rule.torch: rule for rule in reference.modules(arguments)}
        self._rules = tuple(pairs.values())
        self._names = Names((rule.torch, rule.flax) for rule in self._rules)

    def find(self, module: str) -> tuple[str, ModuleRule] | None:
        """The Flax path, '' for the whole module, and the rule; None if the module has no counterpart."""
        found = self._names.to_flax(module)
        return found and (found[0], self._rules[found[1]])


def match_shape(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`array` as `shape` if they differ in axes of length 1 only: PyTorch keeps (B, C, 1, 1) where Flax has (B, C)."""
    same = [n for n in array.shape if n != 1] == [n for n in shape if n != 1]
    return array.reshape(shape) if same else array


class Recorder:
    """An interceptor for `nn.intercept_methods` that keeps the outputs of some modules in the order of computation.

    A module called several times is recorded once, at its first call.
    """

    def __init__(self, paths: set[str]):
        self.paths = paths
        self.outputs: dict[str, Any] = {}

    def __call__(self, next_function, args, kwargs, context):
        """Call the method; keep what `__call__` of a wanted module returns."""
        output = next_function(*args, **kwargs)
        path = '/'.join(context.module.path)
        if context.method_name == '__call__' and path in self.paths:
            self.outputs.setdefault(path, output)
        return output


def recording(recorder: Recorder):
    """The context in which `recorder` sees every call."""
    return nn.intercept_methods(recorder)
