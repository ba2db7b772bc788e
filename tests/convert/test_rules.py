"""Templates compile to expressions on both sides, and transforms undo themselves."""

import numpy as np
import pytest

from flax_dynconv.convert import REFERENCES, Rule, RuleTable, mount
from flax_dynconv.convert import transforms as t

NETWORK = RuleTable(
    [
        Rule('layer{s}.{b}.conv{i}.weight', 'params/layer{s}_{b}/conv{i}/kernel', t.conv_kernel),
        Rule('fc.weight', 'params/fc/kernel', t.linear),
        *mount([Rule('{h:up|down}.bias', 'params/{h}/bias', t.identity)], 'head.{n}', 'head_{n}'),
    ]
)

PAIRS = [
    ('layer1.0.conv2.weight', 'params/layer1_0/conv2/kernel'),
    ('layer10.22.conv3.weight', 'params/layer10_22/conv3/kernel'),
    ('fc.weight', 'params/fc/kernel'),
    ('head.3.up.bias', 'params/head_3/up/bias'),
]


@pytest.mark.parametrize(('key', 'path'), PAIRS)
def test_names_in_both_directions(key, path):
    assert NETWORK.to_flax(key)[0] == path
    assert NETWORK.to_torch(path)[0] == key


@pytest.mark.parametrize(
    'key',
    ['layerx.0.conv2.weight', 'layer1.0.conv2.weights', 'xfc.weight', 'fcxweight', 'head.3.side.bias', 'fc.weight\n'],
)
def test_no_rule(key):
    assert NETWORK.to_flax(key) is None


def test_a_field_that_appears_twice_is_one_field():
    table = RuleTable([Rule('{a}.x.{a}.weight', 'params/x{a}/kernel', t.identity)])
    assert table.to_flax('2.x.2.weight')[0] == 'params/x2/kernel'
    assert table.to_flax('2.x.3.weight') is None
    assert table.to_torch('params/x2/kernel')[0] == '2.x.2.weight'


def test_fields_must_agree():
    with pytest.raises(ValueError, match='must have the same fields'):
        RuleTable([Rule('conv{i}.weight', 'params/conv/kernel', t.identity)])


def test_ambiguous_rules():
    table = RuleTable([Rule('fc.weight', 'params/a', t.identity), Rule('{x:.*}.weight', 'params/{x}', t.identity)])
    with pytest.raises(ValueError, match=r"'fc.weight' matches several templates"):
        table.to_flax('fc.weight')


@pytest.mark.parametrize(
    ('transform', 'torch_shape', 'flax_shape'),
    [
        (t.identity, (3, 4), (3, 4)),
        (t.linear, (3, 4), (4, 3)),
        (t.conv_kernel, (5, 2, 7), (7, 2, 5)),
        (t.conv_kernel, (5, 2, 7, 6), (7, 6, 2, 5)),
        (t.conv_kernel, (5, 2, 7, 6, 4), (7, 6, 4, 2, 5)),
        (t.kernel_bank, (3, 5, 2, 7), (3, 7, 2, 5)),
        (t.kernel_bank, (3, 5, 2, 7, 6), (3, 7, 6, 2, 5)),
        (t.kernel_bank, (3, 5, 2, 7, 6, 4), (3, 7, 6, 4, 2, 5)),
        (t.pointwise_as_linear(1), (5, 2, 1), (2, 5)),
        (t.pointwise_as_linear(3), (5, 2, 1, 1, 1), (2, 5)),
        (t.reshape((6, 2), (3, 4)), (6, 2), (3, 4)),
        (t.flat_bank((3, 5, 2, 7, 6)), (3, 420), (3, 7, 6, 2, 5)),
        (t.linear.then(t.identity).then(t.linear), (3, 4), (3, 4)),
    ],
)
def test_transforms_undo_themselves(transform, torch_shape, flax_shape):
    x = np.arange(np.prod(torch_shape)).reshape(torch_shape)
    y = transform.to_flax(x)
    assert y.shape == flax_shape
    np.testing.assert_array_equal(transform.to_torch(y), x)


def test_a_flat_bank_has_as_many_kernels_as_the_array():
    bank = np.arange(4 * 5 * 2 * 3).reshape(4, 5, 2, 3)
    table = t.flat_bank((8, 5, 2, 3))
    np.testing.assert_array_equal(table.to_flax(bank.reshape(4, -1)), bank.transpose(0, 3, 2, 1))
    np.testing.assert_array_equal(table.to_torch(bank.transpose(0, 3, 2, 1)), bank.reshape(4, -1))


def test_transforms_put_elements_where_they_belong():
    conv = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert t.conv_kernel.to_flax(conv)[3, 4, 2, 1] == conv[1, 2, 3, 4]
    bank = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    assert t.kernel_bank.to_flax(bank)[1, 4, 5, 3, 2] == bank[1, 2, 3, 4, 5]
    flat = t.flat_bank(bank.shape).to_flax(bank.reshape(2, -1))
    assert flat[1, 4, 5, 3, 2] == bank[1, 2, 3, 4, 5]


PROMISED = (
    *(f'odconv.od_resnet{depth}' for depth in (18, 34, 50, 101)),
    *(f'odconv.od_mobilenetv2_{width}' for width in ('050', '075', '100')),
    *(f'dynconv.dy_resnet{depth}' for depth in (18, 34, 50)),
    *(f'timm.tf_efficientnet_cc_{size}' for size in ('b0_4e', 'b0_8e', 'b1_8e')),
    *(f'torchvision.resnet{depth}' for depth in (18, 34, 50, 101)),
    *(f'torchvision.{name}' for name in ('mobilenet_v2', 'mobilenet_v3_small', 'mobilenet_v3_large')),
    *('torchvision.shufflenet_v2_x1_0', 'timm.CondConvResidual', 'timm.CondConv2d', 'odconv.ODConv2d'),
    *(f'dynconv.Dynamic_conv{rank}d' for rank in (1, 2, 3)),
    *(f'dfn.{name}' for name in ('SteerableFilter', 'MovingMNIST')),
    *('seed.DyNet2D', 'seed.ODConv2D', 'seed.YOLOODConv2d'),
    *('dmnet.DCM', 'dmnet.DMHead', 'dmnet.EncoderDecoder', 'mmseg.resnet50_v1c'),
)


def test_every_promised_reference_is_there_with_a_record_of_its_own():
    """Which network a record builds is compared in test_pretrained; here, that no id is an alias of another."""
    assert set(PROMISED) <= REFERENCES.keys()
    assert len({id(record) for record in REFERENCES.values()}) == len(REFERENCES)
