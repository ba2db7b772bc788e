"""from_torch and to_torch: strict both ways, everything wrong in one message, dtypes and temperatures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.convert import ConversionError, from_torch, to_torch
from tests.golden.loader import Golden, names

OD = 'odconv.ODConv2d'
ARGUMENTS = {'in_planes': 8, 'out_planes': 12, 'kernel_size': 3, 'padding': 1}


def od_state():
    return dict(Golden('odconv_k3_n4').state)


@pytest.mark.parametrize('name', sorted({name for name, _ in names() if Golden(name).state}))
def test_round_trip_is_bitwise(name):
    golden = Golden(name)
    reference, arguments = golden.meta['reference'], golden.meta['arguments']
    _, variables = from_torch(reference, golden.state, arguments)
    back = to_torch(reference, variables, arguments)
    assert back.keys() == golden.state.keys()
    for key, array in golden.state.items():
        assert back[key].dtype == array.dtype
        assert back[key].tobytes() == np.ascontiguousarray(array).tobytes()


def test_everything_wrong_is_one_error():
    state = od_state()
    state['attention.chanel_fc.weight'] = state.pop('attention.channel_fc.weight')
    del state['attention.bn.running_var']
    state['attention.kernel_fc.bias'] = np.zeros(5, np.float32)
    state['weight'] = state['weight'].copy()
    state['weight'][0, 0, 0, 0, :2] = np.nan, np.inf
    state['attention.fc.weight'] = np.zeros((16, 8, 1, 1), np.int32)
    state['epoch'] = 7
    with pytest.raises(ConversionError) as caught:
        from_torch(OD, state, ARGUMENTS)
    message = str(caught.value)
    for part in (
        '7 problem(s)',
        "unused key 'attention.chanel_fc.weight' (nearest: 'attention.channel_fc.weight')",
        "unused key 'epoch'",
        "missing key 'attention.channel_fc.weight' (for params/routing/channel/kernel)"
        " (nearest: 'attention.chanel_fc.weight')",
        "missing key 'attention.bn.running_var'",
        "'attention.kernel_fc.bias': expected shape (4,), got (5,)",
        "'weight': 2 of 3456 values are NaN or infinite",
        "'attention.fc.weight': expected floating-point values, got dtype int32",
    ):
        assert part in message


def test_a_key_of_another_name_is_not_used():
    state = od_state() | {'attention.filter_fc.weight2': np.zeros(3)}
    with pytest.raises(
        ConversionError, match=r"1 problem.*\n.*unused key 'attention.filter_fc.weight2' \(nearest: 'att"
    ):
        from_torch(OD, state, ARGUMENTS)


def test_values_that_are_no_arrays():
    state = od_state() | {'weight': 'weights'}
    with pytest.raises(ConversionError, match="'weight': expected an array, got str"):
        from_torch(OD, state, ARGUMENTS)
    state['weight'] = np.array([None])
    with pytest.raises(ConversionError, match="'weight': expected an array of numbers, got dtype object"):
        from_torch(OD, state, ARGUMENTS)


def test_back_is_strict_too():
    _, variables = from_torch(OD, od_state(), ARGUMENTS)
    variables['params']['routing']['extra'] = np.zeros(3)
    variables['params']['kernel'] = variables['params']['kernel'][:, :1]
    del variables['batch_stats']['routing']['norm']['mean']
    with pytest.raises(ConversionError) as caught:
        to_torch(OD, variables, ARGUMENTS)
    message = str(caught.value)
    assert '3 problem(s)' in message
    assert "unused leaf 'params/routing/extra'" in message
    assert "missing leaf 'batch_stats/routing/norm/mean' (nearest: 'batch_stats/routing/norm/var'" in message
    assert "'params/kernel': expected shape (4, 3, 3, 8, 12), got (4, 1, 3, 8, 12)" in message


def test_a_network_that_never_was_in_torch():
    module, _ = from_torch(OD, od_state(), ARGUMENTS)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.ones((1, 5, 5, 8)))
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    state = to_torch(OD, variables, ARGUMENTS)
    assert state.keys() == od_state().keys()
    assert state['attention.bn.num_batches_tracked'] == 0
    assert state['attention.bn.num_batches_tracked'].dtype == np.int64
    assert state['weight'].flags.c_contiguous


@pytest.mark.parametrize(
    ('reference', 'closest'),
    [
        ('odconv.OdConv2D', 'odconv.ODConv2d'),
        ('ODConv2d', 'odconv.ODConv2d'),
        ('odconv.resnet50', 'odconv.od_resnet50'),
        ('timm.CondConv', 'timm.CondConv2d'),
        ('dynconv.dynamic_conv2d', 'dynconv.Dynamic_conv2d'),
    ],
)
def test_unknown_reference(reference, closest):
    with pytest.raises(ConversionError, match=f"got '{reference}'; did you mean '{closest}'"):
        from_torch(reference, {}, {})


def test_unknown_reference_without_a_close_one():
    with pytest.raises(ConversionError, match=r"expected one of condinst.CondInst, .*, got 'x'$"):
        to_torch('x', {}, {})


def test_arguments_are_named():
    wrong = {'in_planes': 8, 'kernel_num': 0, 'strides': 2, 'padding': -1, 'in_channels': 8}
    with pytest.raises(ConversionError) as caught:
        from_torch(OD, od_state(), wrong)
    message = str(caught.value)
    assert message.startswith('odconv.ODConv2d(in_planes, out_planes, kernel_size, stride=1, padding=0,')
    assert "unknown argument 'strides'; did you mean 'stride'?" in message
    assert "unknown argument 'in_channels'" in message
    assert "missing argument 'out_planes'" in message
    assert "missing argument 'kernel_size'" in message
    assert "argument 'kernel_num': expected an int >= 1, got 0" in message
    assert "argument 'padding': expected an int >= 0, 2 of them or one of ('same', 'valid'), got -1" in message


@pytest.mark.parametrize(
    ('reference', 'arguments', 'match'),
    [
        (OD, {**ARGUMENTS, 'groups': 3}, "argument 'groups': expected a divisor of the 8 input channels, got 3"),
        (OD, {**ARGUMENTS, 'groups': 8}, "argument 'groups': expected a divisor of the 12 output channels, got 8"),
        (OD, {**ARGUMENTS, 'kernel_size': (3, 5)}, "argument 'kernel_size': expected an int >= 1 .*equal"),
        (OD, {**ARGUMENTS, 'padding': 'same', 'stride': 2}, "'same' expects stride 1"),
        (OD, [8, 12, 3], 'arguments: expected a table of names and values'),
        (
            'seed.ODConv2D',
            {'in_channels': 8, 'out_channels': 8, 'kernel_size': 3, 'groups': 2},
            r"'groups': expected one",
        ),
        (
            'seed.DyNet2D',
            {'in_channels': 8, 'out_channels': 8, 'kernel_size': 3, 'K': 2, 'num_experts': 3},
            'given twice',
        ),
        (
            'seed.DyNet2D',
            {'in_channels': 8, 'out_channels': 8, 'kernel_size': 3, 'padding_mode': 'same'},
            'padding_mode',
        ),
        ('seed.YOLOODConv2d', {'in_planes': 8, 'out_planes': 8, 'k': 3, 'act': 'Mish2'}, "'act': expected true, false"),
        ('seed.ODConv2D', {'in_channels': 2, 'out_channels': 8, 'kernel_size': 3, 'r': 4}, 'no Flax module has these'),
        ('odconv.od_resnet18', {'dropout': 2}, "'dropout': expected a number from 0 to 1, got 2"),
    ],
)
def test_unusable_arguments(reference, arguments, match):
    with pytest.raises(ConversionError, match=match):
        from_torch(reference, {}, arguments)


def test_numpy_scalars_and_lists_are_arguments_too():
    module, _ = from_torch(OD, od_state(), {**ARGUMENTS, 'kernel_size': [np.int64(3), np.int64(3)], 'padding': (1, 1)})
    assert module.kernel_size == (3, 3) and module.padding == ((1, 1), (1, 1))


def test_a_state_that_is_no_mapping():
    with pytest.raises(ConversionError, match='state_dict: expected a mapping of keys to arrays, got list'):
        from_torch(OD, list(od_state()), ARGUMENTS)


def test_omitted_arguments_take_the_defaults_of_pytorch():
    x = np.ones((1, 6, 6, 8))
    explicit = {**ARGUMENTS, 'stride': 1, 'dilation': 1, 'groups': 1, 'reduction': 0.0625, 'kernel_num': 4}
    a, variables = from_torch(OD, od_state(), ARGUMENTS)
    b, _ = from_torch(OD, od_state(), explicit)
    np.testing.assert_array_equal(a.apply(variables, x), b.apply(variables, x))


def test_jax_arrays_and_half_precision():
    state = {key: jnp.asarray(value) for key, value in od_state().items() if value.dtype == np.float32}
    state['attention.bn.num_batches_tracked'] = np.asarray(3)
    _, variables = from_torch(OD, state, ARGUMENTS)
    assert variables['torch_buffers']['routing']['norm']['num_batches_tracked'] == 3
    half = {k: v.astype(jnp.bfloat16) if v.dtype == jnp.float32 else v for k, v in state.items()}
    _, variables = from_torch(OD, half, ARGUMENTS)
    assert variables['params']['kernel'].dtype == jnp.bfloat16
    module, variables = from_torch(OD, half, ARGUMENTS, dtype=jnp.float16, param_dtype=jnp.float32)
    assert variables['params']['kernel'].dtype == np.float32
    assert module.apply(variables, jnp.ones((1, 5, 5, 8))).dtype == jnp.float16


def test_temperature():
    golden = Golden('dynconv2d_k3_T34')

    def temperature(**given):
        # Its arguments say 34, where PyTorch's schedule starts: a network is converted as it is when trained.
        _, variables = from_torch('dynconv.Dynamic_conv2d', golden.state, golden.meta['arguments'], **given)
        return float(variables['temperature']['routing']['value'])

    assert temperature() == 1.0
    assert temperature(temperature=30) == temperature(temperature=jnp.float32(30)) == 30.0
    for wrong in (0, -1.0, float('nan'), float('inf'), 'hot'):
        with pytest.raises(ConversionError, match=f'temperature: expected a finite number > 0, got {wrong}'):
            temperature(temperature=wrong)


def test_temperature_where_there_is_none():
    golden = Golden('condconv_k3_bias')
    with pytest.raises(ConversionError, match=r'temperature: timm\.CondConv2d has none, expected 1\.0, got 2'):
        from_torch('timm.CondConv2d', golden.state, golden.meta['arguments'], temperature=2)


def test_weights_are_copies():
    state = {key: np.array(value) for key, value in od_state().items()}
    _, variables = from_torch(OD, state, ARGUMENTS)
    before = jax.tree.map(np.array, variables)
    for value in state.values():
        value += 1
    jax.tree.map(np.testing.assert_array_equal, variables, before)


def test_statistics_stay_float32_beside_half_parameters():
    _, variables = from_torch(OD, od_state(), ARGUMENTS, param_dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables['params'])} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables['batch_stats'])} == {np.dtype(np.float32)}
