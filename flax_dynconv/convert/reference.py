"""Reference: everything the bridge knows about one PyTorch module, as one record."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import linen as nn

from flax_dynconv.convert.arguments import Signature
from flax_dynconv.convert.rules import Rule


class ModuleRule(NamedTuple):
    """Templates of a PyTorch module and of the Flax module with the same output, for comparing activations.

    `layout` is that of the output in PyTorch, `channels_first` or `as_is`. `then` is what the PyTorch module also does
    and the Flax module does not: an activation inside a norm.
    """

    torch: str
    flax: str
    layout: str = 'channels_first'
    then: Callable[[Any], Any] | None = None


class Reference(NamedTuple):
    """One PyTorch module: its constructor, the Flax module it becomes, and where each array goes.

    `arguments` below is always complete: all names of `signature`, defaults filled in.

    signature: names and defaults of the PyTorch constructor.
    build(arguments, dtype, param_dtype): the Flax module; dtypes are None or a dtype.
    rules(arguments): the table of its state_dict.
    example(arguments): shapes of the inputs in Flax's layout, batch included.
    inputs, outputs: the layout of each array of a reference case, `channels_first` or `as_is`.
    optional_outputs: how many of the last outputs a case may leave out.
    modules(arguments): further modules whose activations may be compared; those with parameters follow from `rules`.
    call: keyword arguments of the Flax module's call, given whether it trains.
    dropout: the arguments that must be 0 for a training-mode call to be reproducible.
    inferred: argument -> submodule; where the argument is None, it is whether the weights have keys of the submodule.
    dropped: keys that published files also have and the module has not. They are no mistake and go nowhere: `to_torch`
        cannot give them back.
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
