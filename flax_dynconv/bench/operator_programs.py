"""The JAX programs of an operator's workload: its forms, the static convolution, the textbook unfold."""

import dataclasses
import functools

import jax.numpy as jnp
from jax import lax

from flax_dynconv.bench import choice
from flax_dynconv.bench.jax_programs import both_directions
from flax_dynconv.bench.operator_cell import CHOSEN, PLAIN, STATIC, UNFOLD


def programs(workload, batch, drawn, forms):
    """All programs of a cell; `forms` is 'all', or 'chosen' for `implementation=None` and `vmap` alone."""
    drawn = {name: jnp.asarray(array) for name, array in drawn.items()}
    cotangent, static_kernel = drawn.pop('cotangent'), drawn.pop('static_kernel')
    spec, names = choice.conv_spec(workload), tuple(drawn)
    # A form that is chosen for both passes is measured as the choice.
    taken, backward = choice.chosen(workload, batch)
    same = {taken} if taken == backward else set()
    others = [form for form in choice.forms(workload) if form not in same] if forms == 'all' else ['reference']
    for name, implementation in [(CHOSEN, None), *((form, form) for form in others)]:
        function = functools.partial(call, workload, names, implementation)
        yield from both_directions(name, function, tuple(drawn.values()), cotangent)
    if workload.scales:
        plain = dataclasses.replace(workload, scales=())
        kept = {name: array for name, array in drawn.items() if name not in workload.scales}
        function = functools.partial(call, plain, tuple(kept), None)
        yield from both_directions(PLAIN, function, tuple(kept.values()), cotangent)
    yield from both_directions(STATIC, spec.static_conv, (drawn['x'], static_kernel), cotangent)
    if _unfolds(workload, spec):
        function = functools.partial(mixed_and_unfolded, workload, names)
        yield from both_directions(UNFOLD, function, tuple(drawn.values()), cotangent)


def call(workload, names, implementation, *operands):
    """The operator on operands in the order of `names`."""
    named = dict(zip(names, operands, strict=True))
    return choice.operator(workload)(**named, **workload.options, implementation=implementation)


def _unfolds(workload, spec):
    return workload.operator == 'per_position_conv' or spec.depthwise


def mixed_and_unfolded(workload, names, *operands):
    """Patches from `lax.conv_general_dilated_patches`, as one writes it, times kernels, summed over the taps."""
    named, spec = dict(zip(names, operands, strict=True)), choice.conv_spec(workload)
    x = named['x']
    if 'input_scale' in named:
        x = x * named['input_scale'][:, None, None]
    n = spec.ndim
    patches = lax.conv_general_dilated_patches(
        x, spec.kernel_size, spec.strides, spec.padding, rhs_dilation=spec.kernel_dilation,
        dimension_numbers=spec.dimension_numbers(),
    )  # fmt: skip
    # Channels are the slower part of the last axis.
    patches = patches.reshape(*patches.shape[: 1 + n], spec.in_features, spec.num_taps)
    kernel = named['kernel'] if 'kernel' in named else named['kernels']
    if workload.operator == 'mixture_conv':
        equation = 'bko,kyxio->byxio' if workload.per_output else 'bk,kyxio->byxio'
        kernel = jnp.einsum(equation, named['weights'], kernel)
        if 'tap_scale' in named:
            kernel = kernel * named['tap_scale'][..., None, None]
    if workload.operator == 'per_position_conv':
        last = kernel.shape[1 + 2 * n :]
        kernel = kernel.reshape(*kernel.shape[: 1 + n], spec.num_taps, *last)
        if workload.kernel_count is None:
            y = jnp.einsum('byxct,byxtco->byxo', patches, kernel)
        elif workload.kernel_count == 1:
            y = (patches * jnp.swapaxes(kernel, -1, -2)).sum(-1)
        else:
            y = (patches * jnp.repeat(jnp.swapaxes(kernel, -1, -2), spec.in_features // kernel.shape[-1], -2)).sum(-1)
    else:
        kernel = kernel.reshape(len(x), spec.num_taps, spec.out_features)
        y = (patches * jnp.swapaxes(kernel, 1, 2)[:, None, None]).sum(-1)
    return y * named['output_scale'][:, None, None] if 'output_scale' in named else y
