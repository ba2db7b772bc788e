"""Exact checksums of arrays, computed where the arrays lie: the same for every sharding and number of devices."""

import functools
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: successive multiples are far apart
_ALL = 0xFFFFFFFF
_SMALL = 2**16


def fingerprint(tree):
    """{path of a leaf: 16 hexadecimal digits}, a function of its name, dtype, shape and bits alone.

    With 32-bit words u_i of a leaf (narrower elements are widened, wider ones divided) and arithmetic modulo 2**32,

        v_i = mix(u_i + i * 0x9E3779B9),    (sum_i v_i + s, sum_i (2 i + 1) v_i + s),    s = crc32(name, dtype, shape)

    `mix` is a bijection that is not linear and 2 i + 1 is odd, so a change within one word always shows in both halves,
    and any other change escapes with a probability of about 2**-64. Sums of integers do not depend on their order:
    each device adds up what it has, and two numbers per leaf are exchanged.

    Leaves are arrays of any dtype but typed random keys (take `jax.random.key_data`); the result is equal on all
    processes. `mix` is the finaliser of MurmurHash3 (Appleby, 2011; public domain).

    >>> fingerprint({'a': np.arange(3), 'b': np.float32(0)}) == fingerprint({'a': np.arange(3), 'b': np.float32(-0.0)})
    False
    """
    leaves = named_leaves(tree)
    sums = np.asarray(_sums(tuple(leaves.values()), *_layout(leaves.values())))
    salts = [zlib.crc32(f'{name} {leaf.dtype} {tuple(leaf.shape)}'.encode()) for name, leaf in leaves.items()]
    return {
        name: ''.join(f'{int(half) + salt & _ALL:08x}' for half in halves)
        for name, halves, salt in zip(leaves, sums, salts, strict=True)
    }


def named_leaves(tree):
    """{path: leaf}: the names say what is in a checkpoint, whatever classes the optimiser's state has.

    >>> named_leaves({'params': {'kernel': 1, 'bias': [2, 3]}})
    {'params/bias/0': 2, 'params/bias/1': 3, 'params/kernel': 1}
    """
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in leaves}


def _layout(leaves):
    """The mesh that the leaves are on, None for a single device, and each leaf's axes of it."""
    shardings = [getattr(leaf, 'sharding', None) for leaf in leaves]
    mesh = next((each.mesh for each in shardings if isinstance(each, NamedSharding) and each.mesh.size > 1), None)
    return mesh, tuple(
        each.spec if isinstance(each, NamedSharding) and each.mesh == mesh else PartitionSpec() for each in shardings
    )


@functools.partial(jax.jit, static_argnums=(1, 2))
def _sums(leaves, mesh, specs):
    """uint32 (leaves, 2)."""
    shapes = [jnp.shape(leaf) for leaf in leaves]
    kinds = [(shape, jnp.result_type(leaf), spec) for leaf, shape, spec in zip(leaves, shapes, specs, strict=True)]

    def local(parts):
        order, sums = [], []
        for kind in dict.fromkeys(kinds):
            shape, _, spec = kind
            start, counts = _place(shape, spec, mesh)
            rows = [row for row, each in enumerate(kinds) if each == kind]
            # Each reduction takes time to compile, and most leaves are small and of few shapes.
            for together in [rows] if math.prod(shape) <= _SMALL else [[row] for row in rows]:
                stack = jnp.stack([parts[row] for row in together])
                sums.append(jax.vmap(lambda x, at=start, whole=shape: _sum(x, whole, at))(stack) * jnp.uint32(counts))
                order += together
        sums = jnp.concatenate([jnp.zeros((0, 2), jnp.uint32), *sums])[np.argsort(np.array(order, int))]
        return sums if mesh is None else jax.lax.psum(sums, mesh.axis_names)

    if mesh is None:
        return local(leaves)
    return jax.shard_map(local, mesh=mesh, in_specs=(specs,), out_specs=PartitionSpec())(leaves)


def _place(shape, spec, mesh):
    """Where this device's part of an array starts, and whether it counts: of copies, the first one does."""
    axes = [spec[axis] if axis < len(spec) else None for axis in range(len(shape))]
    used = [() if names is None else names if isinstance(names, tuple) else (names,) for names in axes]
    start = [
        jax.lax.axis_index(names) * (size // math.prod(mesh.shape[name] for name in names)) if names else 0
        for names, size in zip(used, shape, strict=True)
    ]
    unused = () if mesh is None else set(mesh.axis_names) - {name for names in used for name in names}
    return start, math.prod(jax.lax.axis_index(name) == 0 for name in sorted(unused))


def _sum(x, shape, start):
    """uint32 (2,): both halves of the sum over `x`, the part of an array of that shape that starts at `start`."""
    words = _words(x)
    inner = words.shape[x.ndim :]
    index = jnp.zeros(words.shape, jnp.uint32)
    for axis, first in enumerate((*start, *[0] * len(inner))):
        stride = jnp.uint32(math.prod((*shape, *inner)[axis + 1 :]) & _ALL)
        along = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis) + jnp.uint32(first)
        index = index + along * stride
    mixed = _mix(words + index * jnp.uint32(_GOLDEN))
    # One reduction of a pair: XLA fuses it with what comes before, and stores nothing.
    zero = jnp.uint32(0)
    pair = jax.lax.reduce(
        (mixed, mixed * (index * 2 + 1)),
        (zero, zero),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
        tuple(range(words.ndim)),
    )
    return jnp.stack(pair)


def _words(x):
    """The bits as uint32, elementwise; 64-bit elements get a trailing axis of two."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return _words(jnp.stack([x.real, x.imag], axis=-1))
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint32)
    bits = jnp.iinfo(x.dtype).bits if jnp.issubdtype(x.dtype, jnp.integer) else jnp.finfo(x.dtype).bits
    unsigned = jnp.uint32 if bits >= 32 else jnp.dtype(f'uint{bits}')
    return jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)


def _mix(h):
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)
