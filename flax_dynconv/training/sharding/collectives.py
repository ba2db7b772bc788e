"""What travels between the devices: the collectives of a compiled program, with the bytes of their results."""

import math
import re
from typing import NamedTuple

_BYTES = {'pred': 1, 's4': 1, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4, 'f32': 4}
_BYTES |= {'s64': 8, 'u64': 8, 'f64': 8, 'c64': 8, 'c128': 16}
_KINDS = 'all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast'
_LINE = re.compile(rf'= (?P<result>.*?) (?P<kind>{_KINDS})(?P<start>-start)?\((?P<rest>.*)$', re.MULTILINE)
_ARRAY = re.compile(r'\b(\w+)\[([\d,]*)\]')


class Collective(NamedTuple):
    """One collective: its kind, the (dtype, shape) of each of its results, and their bytes on one device.

    `op` is the operation of the program that it stands for, where the compiler says so.
    """

    kind: str
    results: tuple
    bytes: int
    op: str


def collectives(compiled):
    """The collectives of `jax.jit(...).lower(...).compile()` in the order of its text, also those inside of loops.

    What a loop does is counted once. Of an asynchronous pair the start is counted; where it carries operands and
    results, the results. The TPU's compiler spreads an asynchronous collective over several computations, each of
    which has it in its text: those of one kind and one channel are one.

    >>> import jax
    >>> collectives(jax.jit(lambda x: x + 1).lower(1.0).compile())
    []
    """
    found = {}
    for number, match in enumerate(_LINE.finditer(compiled.as_text())):
        channel = re.search(r'channel_id=(\d+)', match['rest'])
        found.setdefault((match['kind'], channel[1] if channel else f'line {number}'), _read(match))
    return list(found.values())


def _read(match):
    arrays = _ARRAY.findall(re.sub(r'\{[^}]*\}', '', match['result']))
    arrays = [(kind, shape) for kind, shape in arrays if kind in _BYTES]
    if match['start'] and match['kind'] in ('all-gather', 'collective-permute') and len(arrays) > 1:
        # (operands, results, and for a permutation two counters)
        arrays = [pair for pair in arrays if pair != ('u32', '')]
        arrays = arrays[len(arrays) // 2 :]
    results = tuple((kind, tuple(int(n) for n in shape.split(',') if n)) for kind, shape in arrays)
    op = re.search(r'op_name="([^"]*)"', match['rest'])
    size = sum(_BYTES[kind] * math.prod(shape) for kind, shape in results)
    return Collective(match['kind'], results, size, op[1] if op else '')
