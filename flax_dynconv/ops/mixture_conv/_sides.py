"""The two ways to pair what a tap reads with what it is answered by, for a backward pass that goes tap by tap."""

import jax.numpy as jnp
from jax import lax


def sides_of(blocks, x, g):
    """Operands of the products of a backward pass, and where their results go."""
    return (_ByOutput if blocks.spec.unit_strides else _ByInput)(blocks, x, g)


def columns_of(blocks, padded, tap, channel):
    """(B, P, channels): what a tap reads of the padded input at every output position."""
    spec, b = blocks.spec, padded.shape[0]
    extent = [(o - 1) * s + 1 for o, s in zip(spec.out_spatial, spec.strides, strict=True)]
    window = lax.dynamic_slice(padded, (0, *blocks.offset(tap), channel), (b, *extent, blocks.channels))
    if set(spec.strides) != {1}:
        window = lax.slice(window, (0,) * window.ndim, window.shape, (1, *spec.strides, 1))
    return window.reshape(b, spec.num_positions, blocks.channels)


class _ByInput:
    """Positions are those of the output: columns of the input are read, cotangents added where they were read."""

    def __init__(self, blocks, x, g):
        self.blocks, self.spec = blocks, blocks.spec
        self.padded, self.g = self.spec.pad(x), g.reshape(x.shape[0], self.spec.num_positions, g.shape[-1])
        self.shape = self.padded.shape

    def columns(self, tap, channel):
        return columns_of(self.blocks, self.padded, tap, channel)

    def cotangent(self, tap):
        return self.g

    def add(self, dx, columns, tap, channel):
        spec = self.spec
        placed = columns.reshape(columns.shape[0], *spec.out_spatial, self.blocks.channels)
        interior = [(0, 0, 0), *((0, 0, s - 1) for s in spec.strides), (0, 0, 0)]
        placed = lax.pad(placed, jnp.zeros((), placed.dtype), interior)
        start = (0, *self.blocks.offset(tap), channel)
        return lax.dynamic_update_slice(dx, lax.dynamic_slice(dx, start, placed.shape) + placed, start)

    def finish(self, dx):
        # Not by `linear_transpose`, whose types would not vary over the mesh axes of a user's `shard_map`.
        edges = [(0, 0, 0), *((-lo, -hi, 0) for lo, hi in self.spec.padding), (0, 0, 0)]
        return self.spec.undilate(lax.pad(dx, jnp.zeros((), dx.dtype), edges))


class _ByOutput:
    """Positions are those of the input: shifted cotangents are read, and serve both products. Strides of one only."""

    def __init__(self, blocks, x, g):
        self.blocks, self.spec, self.x = blocks, blocks.spec, x
        self.g = self.spec.mirrored.pad(g)
        self.flat = x.reshape(x.shape[0], -1, x.shape[-1])
        self.shape = self.flat.shape

    def columns(self, tap, channel):
        return lax.dynamic_slice_in_dim(self.flat, channel, self.blocks.channels, 2)

    def cotangent(self, tap):
        # The mirror image of the tap: where it read at +t, its cotangent comes from -t.
        start = (0, *self.blocks.offset(self.spec.num_taps - 1 - tap), 0)
        shape = (self.g.shape[0], *self.spec.in_spatial, self.g.shape[-1])
        return lax.dynamic_slice(self.g, start, shape).reshape(shape[0], -1, shape[-1])

    def add(self, dx, columns, tap, channel):
        if self.blocks.parts == 1:
            return dx + columns
        part = lax.dynamic_slice_in_dim(dx, channel, self.blocks.channels, 2)
        return lax.dynamic_update_slice_in_dim(dx, part + columns, channel, 2)

    def finish(self, dx):
        return dx.reshape(self.x.shape)
