"""`ops.Autotune`: measured while tracing, once, into a file that others may write too."""

import functools
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv import layers, ops
from flax_dynconv.ops.choice import measuring, tuning_file
from flax_dynconv.ops.explain import case_of
from tests.tolerances import assert_close
from tests.x64 import x64

X, W = (2, 5, 4, 3), (2, 3, 3, 3, 4)


def arrays(dtype='float32'):
    return tuple(jax.random.normal(jax.random.key(i), shape, dtype) for i, shape in enumerate((X, W)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'forms.json'


def conv(path, *operands):
    return ops.per_sample_conv(*operands, implementation=ops.Autotune(path))


def forbid_measuring(monkeypatch):
    def measure(case, names):
        raise AssertionError('measured')

    monkeypatch.setattr(measuring, 'measure', measure)


def record(path, **seconds):
    """A file that says how long each form takes for X and W."""
    case, _ = case_of(ops.per_sample_conv, *arrays())
    tuning_file.add(str(path), measuring.key(case), seconds)


def test_measured_once_inside_transformations(path, monkeypatch):
    operands = arrays()

    def loss(implementation, x, w):
        def step(total, _):
            return total + (ops.per_sample_conv(x, w, implementation=implementation) ** 2).sum(), None

        return jax.lax.scan(step, 0.0, jnp.arange(2))[0]

    gradient = jax.grad(functools.partial(loss, ops.Autotune(path)), (0, 1))
    jax.tree.map(
        assert_close, jax.jit(gradient)(*operands), jax.grad(functools.partial(loss, 'reference'), (0, 1))(*operands)
    )
    (entry,) = json.loads(path.read_text())['seconds'].values()
    assert entry.keys() == {'patches', 'loop'} and min(entry.values()) > 0
    forbid_measuring(monkeypatch)
    conv(path, *operands)
    with pytest.raises(AssertionError, match='measured'):
        conv(path, *(a[:1] for a in operands))


@pytest.mark.parametrize('winner', ['loop', 'patches'])
def test_the_file_decides_on_its_platform_alone(path, winner, monkeypatch):
    forbid_measuring(monkeypatch)
    record(path, **{'loop': 1.0, 'patches': 1.0, winner: 0.5})
    function = jax.jit(functools.partial(conv, path))
    texts = {p: function.trace(*arrays()).lower(lowering_platforms=(p,)).as_text() for p in ('cpu', 'tpu')}
    assert ('stablehlo.convolution' in texts['cpu']) == (winner == 'loop')
    assert 'stablehlo.convolution' not in texts['tpu']
    told = ops.explain(ops.per_sample_conv, *arrays(), implementation=ops.Autotune(path))
    assert told.chosen['cpu'] == winner and told.chosen['tpu'] == 'patches'
    assert str(path) in told.reasons['cpu'] and told.gradient['cpu'][winner] == 500


def test_explain_does_not_measure(path, monkeypatch):
    forbid_measuring(monkeypatch)
    told = ops.explain(ops.per_sample_conv, *arrays(), implementation=ops.Autotune(path))
    assert 'a call measures it first' in told.reasons['cpu'] and not path.exists()
    weights, biases = ops.split_parameters(jnp.ones((1, 1, 10201)), (100, 100, 1))
    wide = jnp.ones((1, 2, 2, 100)), weights, biases
    told = ops.explain(ops.instance_head, *wide, implementation=ops.Autotune(path))
    assert told.chosen['cpu'] == 'products' and 'measures' not in told.reasons['cpu']


def test_a_layer_takes_it(path):
    layer = layers.CondConv(4, (1, 1), num_kernels=2, implementation=ops.Autotune(path))
    x = arrays()[0]
    y, _ = layer.init_with_output(jax.random.key(0), x)
    assert y.shape == (2, 5, 4, 4)
    (key,) = tuning_file.read(str(path))
    assert 'mixture_conv' in key and f'jax {jax.__version__}' in key
    hash(layer)


def test_other_operators(path):
    weights, biases = ops.split_parameters(jnp.ones((1, 2, 13)), (2, 3, 1))
    y = ops.instance_head(jnp.ones((1, 4, 4, 2)), weights, biases, implementation=ops.Autotune(path))
    assert y.shape == (1, 2, 4, 4)
    x, kernels = jnp.ones((1, 4, 4, 2)), jnp.ones((1, 4, 4, 3, 3, 1))
    assert ops.per_position_conv(x, kernels, implementation=ops.Autotune(path)).shape == (1, 4, 4, 2)
    assert {key.split(' | ')[0] for key in tuning_file.read(str(path))} == {'instance_head', 'per_position_conv'}


def test_under_a_mesh(path):
    mesh = jax.make_mesh((2,), ('data',), axis_types=(AxisType.Explicit,))
    expected = ops.per_sample_conv(*arrays(), implementation='reference')
    with jax.set_mesh(mesh):
        operands = jax.device_put(arrays(), NamedSharding(mesh, P('data')))
        assert_close(jax.jit(functools.partial(conv, path))(*operands), expected)
    assert path.exists()


def test_double_precision(path):
    with x64():
        y = conv(path, *arrays('float64'))
        assert y.dtype == np.float64
    (key,) = tuning_file.read(str(path))
    assert 'float64' in key


def test_a_symbolic_batch_and_several_processes_are_not_measured(path, monkeypatch):
    forbid_measuring(monkeypatch)
    (b,) = export.symbolic_shape('b')
    signature = [jax.ShapeDtypeStruct((b, *shape[1:]), 'float32') for shape in (X, W)]
    export.export(jax.jit(functools.partial(conv, path)))(*signature)
    head = jax.jit(functools.partial(ops.instance_head, implementation=ops.Autotune(path)))
    shapes = (1, 4, 4, 2), (1, b, 2, 1), (1, b, 1)
    features, weight, bias = (jax.ShapeDtypeStruct(shape, 'float32') for shape in shapes)
    export.export(head)(features, [weight], [bias])
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    conv(path, *arrays())
    assert not path.exists()


def test_nothing_to_compare_is_not_measured(path, monkeypatch):
    forbid_measuring(monkeypatch)
    ops.mixture_conv(
        jnp.ones((2, 0, 4, 3)), jnp.ones((2, 1, 1, 3, 3)), jnp.ones((2, 2)), implementation=ops.Autotune(path)
    )
    assert not path.exists()


def test_entries_of_others_are_kept(path):
    tuning_file.add(str(path), 'one', {'loop': 1.0})
    tuning_file.add(str(path), 'two', {'patches': 2.0})
    tuning_file.add(str(path), 'one', {'loop': 3.0})
    assert tuning_file.read(str(path)) == {'one': {'loop': 3.0}, 'two': {'patches': 2.0}}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name != 'posix', reason='permissions of POSIX')
def test_others_may_read_the_file_as_any_new_file(path):
    tuning_file.add(str(path), 'one', {'loop': 1.0})
    usual = path.with_name('usual')
    usual.touch()
    assert path.stat().st_mode == usual.stat().st_mode


@pytest.mark.parametrize(
    'content',
    [
        '',
        '{"version": 1, "seconds": {',
        '[]',
        '{"version": 2, "seconds": {}}',
        '{"version": 1, "seconds": {"a": {"loop": "x"}}}',
    ],
)
def test_a_damaged_file_is_named(path, content):
    path.write_text(content)
    with pytest.raises(ValueError, match=rf'implementation: expected a tuning file .*{path.name}'):
        conv(path, *arrays())
    assert path.read_text() == content


def test_a_path_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    forbid_measuring(monkeypatch)
    with pytest.raises(ValueError, match=r'implementation: expected a path that can be written, got .*missing'):
        conv(tmp_path / 'missing' / 'forms.json', *arrays())
    with pytest.raises(ValueError, match='implementation: expected a tuning file'):
        conv(tmp_path, *arrays())
    with pytest.raises(TypeError, match='path: expected a path, got int'):
        ops.Autotune(3)
    assert hash(ops.Autotune('a')) == hash(ops.Autotune('a')) and ops.Autotune('a') != ops.Autotune('b')
