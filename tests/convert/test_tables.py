"""Published checksums of single layers: weights and inputs are sines, results known to ten digits, float64."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from flax_dynconv.convert import from_torch, get_reference
from flax_dynconv.convert.engine import expected_leaves, flatten
from flax_dynconv.convert.layouts import to_torch as to_channels_first
from flax_dynconv.convert.rules import RuleTable

TABLES = json.loads((Path(__file__).parents[1] / 'golden' / 'tables.json').read_text())

# PyTorch's own order: the number of a tensor is its phase.
ORDER = ['weight', 'bias', 'attention.fc.weight', 'attention.fc1.weight', 'attention.fc2.weight', 'attention.fc2.bias']
ORDER += [f'attention.bn.{leaf}' for leaf in ('weight', 'bias', 'running_mean', 'running_var')]
ORDER += [
    f'attention.{head}_fc.{leaf}' for head in ('channel', 'filter', 'spatial', 'kernel') for leaf in ('weight', 'bias')
]


def sines(shape, phase, positive):
    values = np.sin(0.37 * np.arange(np.prod(shape)) + phase).reshape(shape)
    return 1.0 + 0.25 * values if positive else 0.5 * values


def weights(record, arguments, start):
    bound = record.signature.bind('', arguments)
    expected = expected_leaves(record.build(bound, None, None), record.example(bound), {})
    table = RuleTable(record.rules(bound))
    shapes = {}
    for path, leaf in expected.items():
        if not path.startswith('temperature/'):
            key, transform = table.to_torch(path)
            shapes[key] = transform.to_torch(np.zeros(leaf.shape)).shape
    counters = {key: np.zeros((), np.int64) for key in shapes if key.endswith('num_batches_tracked')}
    keys = [key for key in ORDER if key in shapes]
    assert len(keys) + len(counters) == len(shapes)
    positive = [k.endswith('running_var') or (k.endswith('weight') and len(shapes[k]) == 1) for k in keys]
    filled = {k: sines(shapes[k], start + i, p) for i, (k, p) in enumerate(zip(keys, positive, strict=True))}
    return filled | counters


def routing(x, experts):
    """CondConv's own routing, of the channels of x (B, C, H, W): tensors 0 and 1."""
    logits = x.mean((2, 3)) @ sines((experts, x.shape[1]), 0, False).T + sines((experts,), 1, False)[None]
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize('row', TABLES, ids=lambda row: row['reference'] + str(TABLES.index(row)))
def test_checksums(row):
    record, arguments = get_reference(row['reference']), row['arguments']
    x = np.sin(0.13 * np.arange(3 * 8 * 7 * 6)).reshape(3, 8, 7, 6)
    condconv = row['reference'] == 'timm.CondConv2d'
    state = weights(record, arguments, start=2 if condconv else 0)
    inputs = [x.transpose(0, 2, 3, 1)]
    if condconv:
        inputs.append(routing(x, arguments.get('num_experts', 4)))
    with jax.enable_x64(True):
        # dtypes follow the weights: nothing says float64 but they
        module, variables = from_torch(
            row['reference'],
            state,
            arguments,
            temperature=row.get('temperature', row['arguments'].get('temperature', 1.0)),
        )
        mutable = ['batch_stats'] if row.get('train') else []
        y, updated = module.apply(variables, *inputs, mutable=mutable)
    y = to_channels_first(np.asarray(y), 'channels_first')
    assert y.dtype == np.float64
    found = [y.sum(), np.square(y).sum(), y.ravel()[0], y.ravel()[-1]]
    np.testing.assert_allclose(found, [row[k] for k in ('sum', 'squares', 'first', 'last')], rtol=1e-9, atol=1e-11)
    if row.get('train'):
        stats = flatten(updated)
        for key, leaf in (('running_mean', 'mean'), ('running_var', 'var')):
            np.testing.assert_allclose(stats[f'batch_stats/routing/norm/{leaf}'][:3], row[key], rtol=1e-9)
