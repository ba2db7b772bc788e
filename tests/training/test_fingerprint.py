"""Fingerprints see every bit, wherever arrays lie, and gather nothing."""

import re

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from flax_dynconv.training import fingerprint as module
from flax_dynconv.training.fingerprint import fingerprint, named_leaves

GENERATOR = np.random.default_rng(0)
TREE = {
    'kernel': GENERATOR.standard_normal((8, 3, 16)).astype(np.float32),
    'half': GENERATOR.standard_normal((4, 8)).astype(jnp.bfloat16),
    'float16': GENERATOR.standard_normal(24).astype(np.float16),
    'flags': GENERATOR.random(16) < 0.5,
    'bytes': GENERATOR.integers(-128, 128, (8, 2)).astype(np.int8),
    'key': np.array([0, 2**32 - 1], np.uint32),
    'step': np.int32(-7),
    'empty': np.zeros((0, 8), np.float32),
    'pair': [np.zeros(8, np.float32), np.zeros(8, np.float32)],
}
SPECS = {
    'kernel': ('model', None, ('data', 'fsdp')),
    'half': (None, 'fsdp'),
    'flags': ('data',),
    'bytes': ('fsdp', 'model'),
}


def words(array):
    """Bits as integers, by numpy."""
    array = np.asarray(array)
    unsigned = array.view(f'u{array.itemsize}') if array.ndim else array.reshape(1).view(f'u{array.itemsize}')
    return [int(word) for word in unsigned.reshape(-1)]


def by_definition(name, array):
    """The docstring's formula in Python's integers, for elements of at most 32 bits."""
    import zlib

    def mix(h):
        h = (h ^ (h >> 16)) * 0x85EBCA6B % 2**32
        h = (h ^ (h >> 13)) * 0xC2B2AE35 % 2**32
        return h ^ (h >> 16)

    salt = zlib.crc32(f'{name} {array.dtype} {array.shape}'.encode())
    mixed = [mix((word + i * 0x9E3779B9) % 2**32) for i, word in enumerate(words(array))]
    first, second = sum(mixed) + salt, sum((2 * i + 1) * v for i, v in enumerate(mixed)) + salt
    return f'{first % 2**32:08x}{second % 2**32:08x}'


def placed(mesh, axes):
    """The tree on a mesh, split as SPECS says over those of its axes that the mesh has."""

    def only(entry):
        names = tuple(n for n in (entry if isinstance(entry, tuple) else (entry,)) if n in axes)
        return names or None

    return {
        name: jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*(only(entry) for entry in SPECS.get(name, ())))))
        for name, leaf in TREE.items()
    }


def test_it_is_the_formula():
    assert fingerprint(TREE) == {name: by_definition(name, leaf) for name, leaf in named_leaves(TREE).items()}


@pytest.mark.parametrize(
    ('shape', 'axes'),
    [((2, 2, 2), ('data', 'fsdp', 'model')), ((8, 1, 1), ('data', 'fsdp', 'model')), ((2, 2), ('fsdp', 'model'))],
)
def test_it_depends_on_no_sharding(shape, axes):
    devices = np.array(jax.devices()[: int(np.prod(shape))]).reshape(shape)
    mesh = Mesh(devices, axes, axis_types=(AxisType.Auto,) * len(axes))
    tree = placed(mesh, axes)
    assert fingerprint(tree) == fingerprint(TREE)
    leaves = tuple(named_leaves(tree).values())
    compiled = module._sums.lower(leaves, *module._layout(leaves)).compile()
    collectives = re.findall(
        r' (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)\(', compiled.as_text()
    )
    assert collectives == ['all-reduce']


def test_big_arrays_take_no_memory():
    leaf = jax.ShapeDtypeStruct((64, 64, 512), np.float32)
    compiled = module._sums.lower((leaf,), None, (PartitionSpec(),)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 64 * 64 * 512 * 4 / 100


@pytest.mark.parametrize('name', ['kernel', 'half', 'float16', 'flags', 'bytes', 'key', 'step'])
def test_any_flipped_bit_shows(name):
    array = np.array(TREE[name], copy=True)
    before = fingerprint({name: array})
    raw = np.atleast_1d(array).view(np.uint8).reshape(-1)
    for place in {0, raw.size // 2, raw.size - 1}:
        for bit in (0, 7) if array.dtype != bool else (0,):
            raw[place] ^= 1 << bit
            changed = raw.view(array.dtype).reshape(array.shape)
            assert fingerprint({name: changed}) != before
            raw[place] ^= 1 << bit
    assert fingerprint({name: raw.view(array.dtype).reshape(array.shape)}) == before


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(st.data())
def test_two_changes_do_not_cancel(data):
    # Sums alone would miss exchanged elements, or two signs: the shape is fixed, so that one program is compiled.
    array = np.arange(1, 33, dtype=np.float32)
    i, j = data.draw(st.lists(st.integers(0, 31), min_size=2, max_size=2, unique=True))
    changed = array.copy()
    if data.draw(st.booleans()):
        changed[[i, j]] = changed[[j, i]]
    else:
        changed[[i, j]] *= -1
    before, after = (fingerprint({'a': a})['a'] for a in (array, changed))
    assert before[:8] != after[:8]
    assert before[8:] != after[8:]


def test_names_shapes_and_dtypes_count():
    zeros = np.zeros(8, np.float32)
    prints = [
        fingerprint({name: leaf})[name]
        for name, leaf in [
            ('a', zeros),
            ('b', zeros),
            ('a', zeros.reshape(2, 4)),
            ('a', zeros.astype(np.int32)),
            ('a', zeros[:0]),
        ]
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint({}) == {}


def test_wide_elements_count_in_full():
    with jax.enable_x64(True):
        for dtype in (np.float64, np.int64, np.complex64, np.complex128):
            array = np.arange(1, 5).astype(dtype)
            before = fingerprint({'a': array})
            raw = array.view(np.uint8)
            for place in range(array.itemsize):
                raw[place] ^= 16
                assert fingerprint({'a': array}) != before, (dtype, place)
                raw[place] ^= 16
            assert fingerprint({'a': array}) == before
