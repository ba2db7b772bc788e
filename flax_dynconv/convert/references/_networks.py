"""What the references of whole networks share: tables of static layers, and the record of an image classifier."""

from collections.abc import Callable
from typing import Any

from flax_dynconv.convert.arguments import positive_int
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references._common import BATCH_NORM
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import conv_kernel, identity, linear, pointwise_as_linear

# A convolution without bias.
CONV = (Rule('weight', 'params/kernel', conv_kernel),)
LINEAR = (Rule('weight', 'params/kernel', linear), Rule('bias', 'params/bias', identity))
# A 1x1 convolution of a pooled map, a linear layer in Flax.
POINTWISE = (Rule('weight', 'params/kernel', pointwise_as_linear(2)), Rule('bias', 'params/bias', identity))


def norm(torch: str, flax: str) -> tuple[Rule, ...]:
    """The table of a batch norm inside a network."""
    return mount(BATCH_NORM, torch, flax)


def classifier(
    signature,
    build: Callable[..., Any],
    rules: Callable[..., Any],
    modules: Callable[..., Any] = lambda args: (),
    dropout: tuple[str, ...] = (),
    channels: str | None = None,
) -> Reference:
    """The record of a network from images to logits; `channels` is the argument that counts those of the images.

    Besides the constructor's arguments a case may say `pixels`, the size of its images; the network is traced with it.
    """
    return Reference(
        signature=signature._replace(
            defaults={**signature.defaults, 'pixels': 64},
            checks={**signature.checks, 'pixels': positive_int},
        ),
        build=build,
        rules=rules,
        example=lambda args: ((2, args['pixels'], args['pixels'], args[channels] if channels else 3),),
        outputs=('as_is',),
        modules=modules,
        call=lambda train: {'train': train},
        dropout=dropout,
    )
