"""Meshes, rules, presets, batches over devices, and the reading of collectives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.training.sharding import PRESETS, Placement, apply_rules, collectives, make_mesh
from flax_dynconv.training.sharding.rules import fsdp
from tests.training import parallel


@pytest.mark.parametrize(
    ('sizes', 'devices', 'expected'),
    [((-1, 1, 1), 8, (8, 1, 1)), ((2, -1, 2), 8, (2, 2, 2)), ((1, 1, 4), 8, (1, 1, 4)), ((1, 1, 1), 1, (1, 1, 1))],
)
def test_a_mesh_has_the_sizes_asked_for(sizes, devices, expected):
    mesh = make_mesh(sizes, jax.devices()[:devices])
    assert tuple(mesh.shape.values()) == expected
    assert mesh.axis_names == ('data', 'fsdp', 'model')


@pytest.mark.parametrize(
    ('sizes', 'message'),
    [
        ((3, -1, 1), r'mesh must divide the 8 devices, got \(3, -1, 1\)'),
        ((4, 4, 1), r'mesh must have at most 8 devices, got \(4, 4, 1\)'),
        ((-1, -1, 1), r'mesh must be three sizes >= 1 .* of which one may be -1, got \(-1, -1, 1\)'),
        ((0, 1, 1), r'mesh must be three sizes'),
        ((8, 1), r'mesh must be three sizes'),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        make_mesh(sizes)


def test_the_first_rule_that_fits_decides_and_the_rest_is_whole():
    mesh = make_mesh((2, 2, 2))
    tree = {
        'params': {'a': {'kernel': np.zeros((4, 3, 3, 8, 8))}, 'b': {'kernel': np.zeros((3, 3, 8, 128))}},
        'opt_state': ({'trace': {'a': {'kernel': np.zeros((4, 3, 3, 8, 8))}}}, np.zeros(())),
        'bias': np.zeros(64),
    }
    rules = [('a/kernel$', 'expert'), ('kernel$', fsdp), ('bias', P(('data', 'fsdp')))]
    specs = jax.tree.map(lambda s: s.spec, apply_rules(tree, rules, mesh))
    assert specs['params']['a']['kernel'] == specs['opt_state'][0]['trace']['a']['kernel'] == P('model')
    assert specs['params']['b']['kernel'] == P(None, None, None, 'fsdp')
    assert specs['bias'] == P(('data', 'fsdp'))
    assert specs['opt_state'][1] == P()


@pytest.mark.parametrize(
    ('shape', 'least', 'expected'),
    [
        ((6, 128), 1, P(None, 'fsdp')),
        ((128, 6), 1, P('fsdp')),
        ((64, 64), 1, P(None, 'fsdp')),
        ((7, 9), 1, P()),
        ((128,), 2**12, P()),
        ((), 0, P()),
    ],
)
def test_fsdp_takes_the_longest_axis_that_divides(shape, least, expected):
    assert fsdp(shape, make_mesh((1, 4, 1), jax.devices()[:4]), least) == expected


def test_rules_that_do_not_fit_name_the_array():
    mesh, tree = make_mesh((1, 1, 8)), {'params': {'conv': {'kernel': np.zeros((4, 3, 3, 8, 8))}}}
    message = r"sharding of params/conv/kernel \(4, 3, 3, 8, 8\): expert must have .*'model' \(8\) divides"
    with pytest.raises(ValueError, match=message):
        apply_rules(tree, [('kernel', 'expert')], mesh)
    with pytest.raises(ValueError, match=r'sharding of params/conv/kernel'):
        apply_rules(tree, [('kernel', P(None, 'model'))], mesh)
    with pytest.raises(ValueError, match=r"a tactic must be one of \['expert', 'fsdp', 'replicate'\].*got 'zero'"):
        apply_rules(tree, [('kernel', 'zero')], mesh)
    with pytest.raises(ValueError, match=r"sharding must be one of \['expert', 'fsdp', 'replicate'\], got 'zero'"):
        Placement.preset('zero')


def test_expert_divides_banks_alone_by_their_kernels():
    model = parallel.model('odconv_resnet18_4x')
    where = parallel.placement(model, 'expert')
    assert dict(where.mesh.shape) == {'data': 4, 'fsdp': 1, 'model': 2}  # two kernels
    _, shapes, labels = parallel.facts(model)
    specs = where.state(shapes)
    for tree in (specs.params, specs.ema['params']):
        pairs = zip(jax.tree.leaves(labels), jax.tree.leaves(tree), strict=True)
        assert {(label == 'kernel_bank', sharding.spec) for label, sharding in pairs} == {
            (True, P('model')),
            (False, P()),
        }
    moments = [s.spec for s in jax.tree.leaves(specs.opt_state)]
    assert moments.count(P('model')) == jax.tree.leaves(labels).count('kernel_bank')


def test_expert_that_would_divide_nothing_is_refused():
    model = parallel.model('odconv_resnet18_4x')
    with pytest.raises(ValueError, match=r"'expert' where no number divides the 3 devices and .* every bank \(2\)"):
        parallel.placement(model, 'expert', devices=3)
    assert dict(parallel.placement(model, 'expert', devices=1).mesh.shape)['model'] == 1


def test_every_preset_is_explained():
    from flax_dynconv.training.sharding import presets

    assert all(f'* `{name}`:' in presets.__doc__ for name in PRESETS)


@pytest.mark.parametrize('sizes', [(8, 1, 1), (2, 2, 2), (1, 1, 1)])
def test_a_batch_over_devices_is_the_batch(sizes):
    where = Placement(make_mesh(sizes))
    local = {'image': np.arange(16 * 6).reshape(16, 2, 3).astype(np.float32), 'label': np.arange(16)}
    np.testing.assert_array_equal(where.rows(16), np.arange(16))
    whole = where.batch(local, 16)
    for name, array in local.items():
        np.testing.assert_array_equal(whole[name], array)
        assert {shard.data.shape[0] for shard in whole[name].addressable_shards} == {16 // where.mesh.size}


def test_a_batch_that_does_not_divide_is_said():
    where = Placement(make_mesh((8, 1, 1)))
    with pytest.raises(ValueError, match=r'batch_size must be a multiple of 8 devices, got 12'):
        where.check('batch_size', 12)
    with pytest.raises(ValueError, match=r'batch_size must be a multiple of 8 devices times accumulate = 4, got 16'):
        where.check('batch_size', 16, parts=4)


def test_collectives_are_read_with_their_bytes():
    mesh = make_mesh((8, 1, 1))
    split, whole = NamedSharding(mesh, P('data')), NamedSharding(mesh, P())

    def function(x):
        return jax.lax.with_sharding_constraint(x, whole), jnp.sum(x, axis=0)

    x = jax.device_put(np.ones((16, 5), np.float32), split)
    found = {c.kind: c for c in collectives(jax.jit(function, out_shardings=whole).lower(x).compile())}
    assert set(found) == {'all-gather', 'all-reduce'}
    assert found['all-gather'].results == (('f32', (16, 5)),) and found['all-gather'].bytes == 320
    assert found['all-reduce'].results == (('f32', (5,)),) and found['all-reduce'].bytes == 20


def test_what_is_spread_over_computations_counts_once():
    line = '%a{} = bf16[8]{{0:T(8,128)(2,1)S(1)}} all-gather(%p), channel_id={}, metadata={{op_name="jit(step)/x"}}'
    lines = [line.format(number, channel) for number, channel in enumerate((4, 4, 4, 7))]
    assert [c.bytes for c in collectives(Text(*lines))] == [16, 16]
    assert len(collectives(Text('%a = f32[2]{0} all-reduce(%p)', '%b = f32[2]{0} all-reduce(%q)'))) == 2


class Text:
    """A compiled program of which only the text is known."""

    def __init__(self, *lines):
        self.lines = lines

    def as_text(self):
        return '\n'.join(self.lines)


@pytest.mark.parametrize(
    ('line', 'kind', 'size'),
    [
        ('%a = f32[8,4]{1,0} all-gather(f32[1,4]{1,0} %p), dimensions={0}', 'all-gather', 128),
        ('%a = (f32[1,4]{1,0}, f32[8,4]{1,0}) all-gather-start(f32[1,4]{1,0} %p)', 'all-gather', 128),
        ('%a = (f32[8]{0}, bf16[2,2]{1,0}) all-reduce-start(f32[8]{0} %p, bf16[2,2]{1,0} %q)', 'all-reduce', 40),
        ('%a = bf16[2,2]{1,0:T(8,128)} reduce-scatter(bf16[8,2]{1,0} %p)', 'reduce-scatter', 8),
        (
            '%a = (f32[4]{0}, f32[4]{0}, u32[]{:S(2)}, u32[]) collective-permute-start(f32[4]{0} %p)',
            'collective-permute',
            16,
        ),
    ],
)
def test_each_form_of_a_collective_is_read(line, kind, size):
    """Texts of the CPU's and the TPU's compiler; the end of an asynchronous one does not count again."""
    done = line.replace('-start(', '-done(') if '-start(' in line else '%b = f32[1] add(f32[1] %x, f32[1] %y)'
    (found,) = collectives(Text(f'  {line}, metadata={{op_name="jit(step)/dot"}}', f'  {done}'))
    assert (found.kind, found.bytes, found.op) == (kind, size, 'jit(step)/dot')
