"""Reference: everything the bridge knows about one PyTorch module, as one record."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn

from flax_dynconv.convert.arguments import Signature
from flax_dynconv.convert.rules import Rule, RuleTable
from flax_dynconv.convert.transforms import identity

# Collection of what a state_dict holds and no Flax module reads.
BUFFERS = 'torch_buffers'


class ModuleRule(NamedTuple):
    """Templates of a PyTorch module and of the Flax module with the same output, for comparing activations.

    `layout` is that of the output in PyTorch, `channels_first` or `as_is`. `then` is what the PyTorch module also does
    and the Flax module does not: an activation inside a norm.
    """

    torch: str
    flax: str
    layout: str = 'channels_first'
    then: Callable[[Any], Any] | None = None


class Buffer(NamedTuple):
    """A buffer of a PyTorch module that follows from its arguments or counts its steps; here it is only carried along.

    value: what a module that was never in PyTorch gets, and the shape. fixed: other values are a mistake.
    """

    value: np.ndarray
    fixed: bool = False


class Reference(NamedTuple):
    """One PyTorch module: its constructor, the Flax module it becomes, and where each array goes.

    `arguments` below is always complete: all names of `signature`, defaults filled in.

    signature: names and defaults of the PyTorch constructor.
    build(arguments, dtype, param_dtype): the Flax module; dtypes are None or a dtype.
    rules(arguments): the table of its state_dict.
    example(arguments): shapes of the inputs in Flax's layout, batch included.
    inputs, outputs: the layout of each array of a reference case, `channels_first` or `as_is`; where their number
        depends on the arguments, as many as there can be.
    optional_outputs: how many of the last outputs a case may leave out.
    modules(arguments): further modules whose activations may be compared; those with parameters follow from `rules`.
    call: keyword arguments of the Flax module's `init` and `apply`, given whether it trains; a `method` may take
        inputs one by one and return outputs in PyTorch's order where the module itself does not.
    dropout: the arguments that must be 0 for a training-mode call to be reproducible.
    inferred: argument -> submodule; where the argument is None, it is whether the weights have keys of the submodule.
    dropped: keys that published files also have and the module has not. They are no mistake and go nowhere: `to_torch`
        cannot give them back.
    buffers(arguments): key -> `Buffer` for those that are neither statistics nor their counters; files may lack them.
    weightless: the module has no weights, and a case of it needs none.
    """

    signature: Signature
    build: Callable[[Mapping[str, Any], Any, Any], nn.Module]
    rules: Callable[[Mapping[str, Any]], tuple[Rule, ...]]
    example: Callable[[Mapping[str, Any]], tuple[tuple[int, ...], ...]]
    inputs: tuple[str, ...] = ('channels_first',)
    outputs: tuple[str, ...] = ('channels_first',)
    optional_outputs: int = 0
    modules: Callable[[Mapping[str, Any]], tuple[ModuleRule, ...]] = lambda arguments: ()
    call: Callable[[bool], dict[str, Any]] = lambda train: {}
    dropout: tuple[str, ...] = ()
    inferred: Mapping[str, str] = {}
    dropped: tuple[str, ...] = ()
    buffers: Callable[[Mapping[str, Any]], Mapping[str, Buffer]] = lambda arguments: {}
    weightless: bool = False

    def table(self, arguments: Mapping[str, Any]) -> RuleTable:
        """The table of everything in the state_dict."""
        carried = [Rule(key, buffer_path(key), identity) for key in self.buffers(arguments)]
        return RuleTable([*self.rules(arguments), *carried])

    def input_layouts(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The layout of each input that a module with these arguments takes."""
        return self.inputs[: len(self.example(arguments))]


def buffer_path(key: str) -> str:
    """Where a buffer is among the Flax leaves.

    >>> buffer_path('mask_head._iter')
    'torch_buffers/mask_head/_iter'
    """
    return f'{BUFFERS}/{key.replace(".", "/")}'
