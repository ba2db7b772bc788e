"""ConvSpec: everything static about one convolution (not batch, not dtype), normalised from the arguments."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops._checks import is_int

PADDING_MODES = {'zeros': 'constant', 'reflect': 'reflect', 'replicate': 'edge', 'circular': 'wrap'}
STRING_PADDINGS = ('SAME', 'SAME_LOWER', 'VALID', 'CIRCULAR', 'REFLECT', 'CAUSAL')

Pads = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """A zero-padded convolution of known sizes; hashable, so that it can be a static argument."""

    in_spatial: tuple[int, ...]
    in_features: int
    out_features: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pads
    input_dilation: tuple[int, ...]
    kernel_dilation: tuple[int, ...]
    groups: int = 1
    precision: object = None

    @property
    def ndim(self) -> int:
        """Number of spatial dimensions."""
        return len(self.in_spatial)

    @property
    def out_spatial(self) -> tuple[int, ...]:
        """Spatial shape of the output."""
        sizes = zip(self.padded_spatial, self.kernel_size, self.kernel_dilation, self.strides, strict=True)
        return tuple(max(0, (n - (k - 1) * d - 1) // s + 1) for n, k, d, s in sizes)

    @property
    def padded_spatial(self) -> tuple[int, ...]:
        """Spatial shape of the input after its dilation and padding."""
        sizes = zip(self.in_spatial, self.input_dilation, self.padding, strict=True)
        return tuple(max(0, (n - 1) * d + 1) + lo + hi for n, d, (lo, hi) in sizes)

    @property
    def num_taps(self) -> int:
        """Number of spatial positions of the kernel."""
        return math.prod(self.kernel_size)

    @property
    def num_positions(self) -> int:
        """Number of output positions of one sample."""
        return math.prod(self.out_spatial)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Shape of one sample's kernel: (*kernel_size, Cin/g, Cout)."""
        return (*self.kernel_size, self.in_features // self.groups, self.out_features)

    @property
    def depthwise(self) -> bool:
        """True if every input channel is its own group (with any channel multiplier)."""
        return self.groups == self.in_features

    @property
    def pointwise(self) -> bool:
        """True if output position p reads input position p alone."""
        return self.num_taps == 1 and self.in_spatial == self.out_spatial and not any(map(any, self.padding))

    @property
    def unit_strides(self) -> bool:
        """Whether strides and input dilations are all one, so that the adjoint is a mirrored convolution."""
        return set(self.strides) == set(self.input_dilation) == {1}

    @property
    def mirrored(self) -> 'ConvSpec':
        """The convolution that takes the output back to the input, by mirrored kernels, for unit strides."""
        reach = ((k - 1) * d for k, d in zip(self.kernel_size, self.kernel_dilation, strict=True))
        pads = tuple((r - lo, r - hi) for r, (lo, hi) in zip(reach, self.padding, strict=True))
        return dataclasses.replace(
            self, in_spatial=self.out_spatial, in_features=self.out_features, out_features=self.in_features,
            padding=pads,
        )  # fmt: skip

    def taps(self):
        """All kernel positions, row-major: the order of the flattened kernel axis everywhere."""
        return itertools.product(*map(range, self.kernel_size))

    def pad(self, x: jax.Array) -> jax.Array:
        """Dilate and zero-pad (or crop, for negative amounts) the input."""
        if not any(map(any, self.padding)) and set(self.input_dilation) == {1}:
            return x
        config = [(lo, hi, d - 1) for (lo, hi), d in zip(self.padding, self.input_dilation, strict=True)]
        return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *config, (0, 0, 0)])

    def tap_slice(self, padded: jax.Array, tap: Sequence[int]) -> jax.Array:
        """What kernel position `tap` sees at every output position: (B, *out_spatial, Cin), a strided slice."""
        start = [t * d for t, d in zip(tap, self.kernel_dilation, strict=True)]
        limit = [a + (o - 1) * s + 1 for a, o, s in zip(start, self.out_spatial, self.strides, strict=True)]
        # The batch may be symbolic: its limit is taken from the array, never converted to an int.
        limits = (padded.shape[0], *limit, padded.shape[-1])
        return lax.slice(padded, (0, *start, 0), limits, (1, *self.strides, 1))

    def tap_unslice(self, y: jax.Array, tap: Sequence[int]) -> jax.Array:
        """The adjoint of `tap_slice` after `pad`, up to `undilate`: y placed where `tap` read it, zeros elsewhere."""
        config = []
        for i, t in enumerate(tap):
            start = t * self.kernel_dilation[i]
            end = self.padded_spatial[i] - (start + (self.out_spatial[i] - 1) * self.strides[i] + 1)
            lo, hi = self.padding[i]
            config.append((start - lo, end - hi, self.strides[i] - 1))
        return lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *config, (0, 0, 0)])

    def undilate(self, x: jax.Array) -> jax.Array:
        """The adjoint of dilating the input: keep its own positions."""
        if set(self.input_dilation) == {1}:
            return x
        return lax.slice(x, (0,) * x.ndim, x.shape, (1, *self.input_dilation, 1))

    def dimension_numbers(self) -> lax.ConvDimensionNumbers:
        """Channels-last activations and (*kernel_size, Cin/g, Cout) kernels, as `nn.Conv`."""
        spatial = 'DHW'[-self.ndim :]
        strings = (f'N{spatial}C', f'{spatial}IO', f'N{spatial}C')
        shape = (1,) * (self.ndim + 2)
        return lax.conv_dimension_numbers(shape, shape, strings)

    def static_conv(self, x: jax.Array, kernel: jax.Array, groups: int | None = None) -> jax.Array:
        """The ordinary convolution of this spec: one kernel for all samples."""
        padding, dilation = self.padding, self.input_dilation
        if min(map(min, padding)) < 0:
            # XLA's CPU compiler of jax 0.10.2 reads beside the input for amounts such as (-1, 1).
            x, padding, dilation = self.pad(x), ((0, 0),) * self.ndim, (1,) * self.ndim
        return lax.conv_general_dilated(
            x,
            kernel,
            self.strides,
            padding,
            lhs_dilation=dilation,
            rhs_dilation=self.kernel_dilation,
            dimension_numbers=self.dimension_numbers(),
            feature_group_count=self.groups if groups is None else groups,
            precision=self.precision,
        )


def per_dimension(value, ndim: int, name: str, minimum: int) -> tuple[int, ...]:
    """An int, or one int per spatial dimension, as a tuple; each at least `minimum`."""
    values = (value,) * ndim if is_int(value) else tuple(value) if isinstance(value, Sequence) else None
    if values is None or len(values) != ndim or not all(is_int(v) and v >= minimum for v in values):
        raise ValueError(f'{name}: expected an int or {ndim} ints, each >= {minimum}, got {value!r}')
    return tuple(map(int, values))


def resolve_padding(padding, mode: str, in_spatial, kernel_size, strides, input_dilation, kernel_dilation):
    """Explicit amounts and the mode, for every way of writing a padding. Strings mean what they mean in `nn.Conv`."""
    ndim = len(in_spatial)
    if not isinstance(mode, str) or mode not in PADDING_MODES:
        raise ValueError(f'padding_mode: expected one of {sorted(PADDING_MODES)}, got {mode!r}')
    extent = [(k - 1) * d + 1 for k, d in zip(kernel_size, kernel_dilation, strict=True)]
    if isinstance(padding, str):
        name = padding.upper()
        if name not in STRING_PADDINGS:
            raise ValueError(f'padding: expected one of {list(STRING_PADDINGS)}, ints or pairs, got {padding!r}')
        if name in ('CIRCULAR', 'REFLECT'):
            if mode not in ('zeros', name.lower()):
                raise ValueError(f'padding_mode: expected {name.lower()!r} or the default with {name!r}, got {mode!r}')
            return tuple(((e - 1) // 2, e // 2) for e in extent), name.lower()
        if name == 'CAUSAL':
            if ndim != 1:
                raise ValueError(f"padding: 'CAUSAL' expects 1 spatial dimension, got {ndim}")
            return ((extent[0] - 1, 0),), mode
        dilated = [max(0, (n - 1) * d + 1) for n, d in zip(in_spatial, input_dilation, strict=True)]
        return tuple(lax.padtype_to_pads(dilated, extent, strides, name)), mode
    amounts = (padding,) * ndim if is_int(padding) else padding
    if not isinstance(amounts, Sequence):
        raise ValueError(f'padding: expected a string, an int, or {ndim} ints or pairs of ints, got {padding!r}')
    pads = tuple((p, p) if is_int(p) else tuple(p) if isinstance(p, Sequence) else () for p in amounts)
    if len(pads) != ndim or not all(len(p) == 2 and all(map(is_int, p)) for p in pads):
        raise ValueError(f'padding: expected a string, an int, or {ndim} ints or pairs of ints, got {padding!r}')
    return tuple((int(lo), int(hi)) for lo, hi in pads), mode


def size_after_padding(spatial, pads: Pads, mode: str) -> tuple[tuple[int, ...], Pads]:
    """The spatial shape after `fill`, and the amounts that are left for the operator."""
    if mode == 'zeros' or not any(map(any, pads)):
        return tuple(spatial), pads
    if any(v < 0 for p in pads for v in p):
        raise ValueError(f'padding: expected amounts >= 0 with padding_mode {mode!r}, got {pads}')
    return tuple(n + lo + hi for n, (lo, hi) in zip(spatial, pads, strict=True)), ((0, 0),) * len(pads)


def fill(x: jax.Array, pads: Pads, mode: str) -> jax.Array:
    """Apply a non-zero padding mode to the input, before its dilation; zeros are left for the operator."""
    if mode == 'zeros' or not any(map(any, pads)):
        return x
    return jnp.pad(x, ((0, 0), *pads, (0, 0)), mode=PADDING_MODES[mode])
