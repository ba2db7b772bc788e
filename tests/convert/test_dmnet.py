"""DMNet against live PyTorch mirrors: resampling, the module, both heads and the whole network, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.convert import (
    CaseError,
    ConversionError,
    from_torch,
    get_reference,
    load_pretrained,
    save_reference_case,
    save_variables,
    save_weights,
    to_torch,
    verify,
)
from flax_dynconv.convert.engine import expected_leaves
from flax_dynconv.convert.references import mmseg
from flax_dynconv.convert.rules import RuleTable
from flax_dynconv.layers import adaptive_average_pool, resize_bilinear
from tests.models.tiny import quick
from tests.sgd import numpy_state
from tests.torch_mirrors import torch
from tests.torch_mirrors.lively import lively
from tests.torch_mirrors.registry import MIRRORS

NETWORK = 'dmnet.EncoderDecoder'
# As narrow and short as it goes: four stages of bottlenecks, of which the last two dilate and the last has two blocks.
SIZES = (1, 1, 2, 2)
BACKBONE = {'stem_channels': 8, 'base_channels': 4}
NARROW = {**BACKBONE, 'filter_sizes': (1, 2, 3), 'channels': 6, 'auxiliary_channels': 5, 'num_classes': 3}
NARROW['dropout_ratio'] = 0.0


@pytest.fixture
def short(monkeypatch):
    """The references of the network and its backbone with fewer blocks: arguments and rules are those of depth 50."""
    resnet = mmseg.resnet
    monkeypatch.setattr(mmseg, 'resnet', lambda depth, **fields: resnet(depth, **fields).clone(stage_sizes=SIZES))


def images(batch=2, size=(32, 40), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, 3, *size), generator=generator, dtype=torch.float64)


def channels_last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


@pytest.mark.parametrize('length', range(1, 9))
def test_pooling_bins(length):
    x = torch.randn((2, 3, length, 9 - length), generator=torch.Generator().manual_seed(length), dtype=torch.float64)
    with jax.enable_x64(True):
        found = quick(lambda x: [adaptive_average_pool(x, k) for k in range(1, 8)])(channels_last(x))
    for k, y in enumerate(found, start=1):
        expected = torch.nn.functional.adaptive_avg_pool2d(x, k)
        np.testing.assert_allclose(y, channels_last(expected), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('shape', [(1, 1), (5, 8), (8, 3)], ids=str)
def test_bilinear_resizing(shape, align_corners):
    x = torch.randn((2, 3, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sizes = ((1, 1), (1, 5), (4, 8), (7, 2), (16, 9), (33, 64))
    with jax.enable_x64(True):
        found = quick(lambda x: [resize_bilinear(x, size, align_corners) for size in sizes])(channels_last(x))
    for size, y in zip(sizes, found, strict=True):
        expected = torch.nn.functional.interpolate(x, size, mode='bilinear', align_corners=align_corners)
        np.testing.assert_allclose(y, channels_last(expected), rtol=1e-12, atol=1e-13)


def keys_and_shapes(reference, own):
    record = get_reference(reference)
    bound = record.signature.bind(reference, own)
    expected = expected_leaves(record.build(bound, None, None), record.example(bound), record.call(False))
    table, shapes = RuleTable(record.rules(bound)), {}
    for path, leaf in expected.items():
        key, transform = table.to_torch(path)
        shapes[key] = transform.to_torch(np.zeros(leaf.shape, np.int8)).shape
    return shapes


@pytest.mark.parametrize(
    ('reference', 'own'),
    [
        (NETWORK, {}),
        (NETWORK, {'depth': 101, 'auxiliary': False, 'fusion': True, 'num_classes': 150}),
        ('mmseg.resnet50_v1c', {}),
        ('mmseg.resnet101_v1c', {'strides': (1, 2, 2, 2), 'dilations': (1, 1, 1, 1)}),
    ],
    ids=str,
)
def test_keys_and_shapes(reference, own):
    with torch.device('meta'):
        state = MIRRORS[reference](**own).state_dict()
    assert keys_and_shapes(reference, own) == {key: tuple(tensor.shape) for key, tensor in state.items()}


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 7])
def test_module(tmp_path, size):
    """Outputs in both modes, buffers, and a round trip; maps smaller than the filter too."""
    own = {'filter_size': size, 'fusion': size == 4, 'in_channels': 6, 'channels': 4}
    x = torch.randn((3, 6, 5, 4), generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    module = lively(MIRRORS['dmnet.DCM'](**own), seed=size)
    for train in (False, True):
        save_reference_case(tmp_path / 'case.npz', module, reference='dmnet.DCM', arguments=own, inputs=x, train=train)
        report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-10)
        assert report.ok and bool(report.state_after) == train, str(report)
    state = numpy_state(module)
    back = to_torch('dmnet.DCM', from_torch('dmnet.DCM', state, own)[1], own)
    assert back.keys() == state.keys() and all(back[k].tobytes() == v.tobytes() for k, v in state.items())


def test_head(tmp_path):
    own = {'filter_sizes': (1, 4), 'fusion': True, 'in_channels': 6, 'channels': 4, 'num_classes': 3}
    own['dropout_ratio'] = 0.0
    x = torch.randn((2, 6, 5, 6), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    module = lively(MIRRORS['dmnet.DMHead'](**own))
    settings = {'reference': 'dmnet.DMHead', 'arguments': own, 'inputs': x, 'train': True}
    save_reference_case(tmp_path / 'case.npz', module, activations=['dcm_modules.1', 'bottleneck'], **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-10)
    assert report.ok and len(report.activations) == 2 and report.first_difference is None, str(report)
    with pytest.raises(CaseError, match=r'dropout'):
        save_reference_case(tmp_path / 'case.npz', module, **{**settings, 'arguments': own | {'dropout_ratio': 0.1}})
        verify(tmp_path / 'case.npz')


def test_backbone(tmp_path, short):
    """All four maps, at the output stride of segmentation networks."""
    x = images()
    module = lively(MIRRORS['mmseg.resnet50_v1c'].func(SIZES, **BACKBONE), inputs=x)
    settings = {'reference': 'mmseg.resnet50_v1c', 'arguments': BACKBONE, 'inputs': x}
    wanted = ['stem.0', 'stem.4', 'layer1.0', 'layer3.0', 'layer3.1', 'layer4.0.downsample', 'layer4.1']
    save_reference_case(tmp_path / 'case.npz', module, train=True, activations=wanted, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-9)
    assert report.ok and report.first_difference is None and not report.skipped, str(report)
    assert [y.shape[2:] for y in report.outputs] == [(8, 10), (4, 5), (4, 5), (4, 5)]


@pytest.mark.parametrize(
    'own',
    [{'resize': True}, {'resize': True, 'align_corners': True, 'fusion': True, 'auxiliary': False}],
    ids=str,
)
def test_network_in_evaluation(tmp_path, short, own):
    x, own = images(), NARROW | own
    module = lively(MIRRORS[NETWORK](sizes=SIZES, **own), inputs=None)
    save_reference_case(tmp_path / 'case.npz', module, reference=NETWORK, arguments=own, inputs=x)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-9)
    assert report.ok, str(report)
    assert report.outputs[0].shape == (2, 3, 32, 40)


def test_network_in_training(tmp_path, short):
    """PyTorch's `forward` leaves the auxiliary head alone: its statistics and its counter stay."""
    module = lively(MIRRORS[NETWORK](sizes=SIZES, **NARROW))
    wanted = ['backbone.layer3.1', 'decode_head.dcm_modules.0', 'decode_head.bottleneck', 'decode_head']
    settings = {'reference': NETWORK, 'arguments': NARROW, 'inputs': images(4)}
    case = save_reference_case(tmp_path / 'case.npz', module, train=True, activations=wanted, **settings)
    assert case.state_after['auxiliary_head.convs.0.bn.num_batches_tracked'] == 5
    assert case.state_after['decode_head.bottleneck.bn.num_batches_tracked'] == 6
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-9)
    assert report.ok and not report.skipped and report.first_difference is None, str(report)
    assert {c.name.removeprefix('state_after/') for c in report.state_after} == dict(module.named_buffers()).keys()


def test_a_step_of_training(short):
    """Both losses, every gradient and every statistic of a training step."""
    own = NARROW | {'resize': True, 'filter_sizes': (2,)}
    module = lively(MIRRORS[NETWORK](sizes=SIZES, **own)).train()
    before, x = numpy_state(module), images(4)
    labels = torch.randint(0, 3, (4, 32, 40), generator=torch.Generator().manual_seed(1))
    entropy = torch.nn.functional.cross_entropy
    main, auxiliary = (entropy(y, labels) for y in module.both(x))
    expected = main + 0.4 * auxiliary
    expected.backward()

    with jax.enable_x64(True), jax.default_matmul_precision('highest'):
        model, variables = from_torch(NETWORK, before, own)
        variables = jax.tree.map(jnp.asarray, variables)

        def loss(params, stats):
            pair, new = model.apply(
                {'params': params, 'batch_stats': stats}, channels_last(x), train=True, mutable=['batch_stats']
            )
            picked = (
                -jnp.take_along_axis(jax.nn.log_softmax(y), labels.numpy()[..., None], axis=-1).mean() for y in pair
            )
            return next(picked) + 0.4 * next(picked), new

        step = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options={'xla_backend_optimization_level': 0})
        (value, new), gradients = jax.device_get(step(variables['params'], variables['batch_stats']))
    assert value == pytest.approx(expected.item(), rel=1e-10)
    found = to_torch(NETWORK, {**jax.device_get(variables), 'params': gradients}, own)
    for name, parameter in module.named_parameters():
        scale = parameter.grad.abs().max().item()
        assert scale > 0, name
        np.testing.assert_allclose(found[name], parameter.grad.numpy(), rtol=0, atol=1e-8 * scale, err_msg=name)
    found = to_torch(NETWORK, {**jax.device_get(variables), **new}, own)
    for name, buffer in module.named_buffers():
        if 'running' in name:
            np.testing.assert_allclose(found[name], buffer.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_checkpoint_of_mmengine(short):
    """As it lies in a file: training state around it; `auxiliary` says whether the auxiliary head is there."""
    module = MIRRORS[NETWORK](sizes=SIZES, **NARROW)
    state = numpy_state(module)
    wrapped = {'meta': {'CLASSES': ('a', 'b')}, 'state_dict': state, 'optimizer': {'state': {}, 'param_groups': []}}
    _, variables = from_torch(NETWORK, wrapped, NARROW)
    back = to_torch(NETWORK, variables, NARROW)
    assert back.keys() == state.keys() and all(back[k].tobytes() == v.tobytes() for k, v in state.items())
    bare = {key: value for key, value in state.items() if not key.startswith('auxiliary_head.')}
    model, variables = from_torch(NETWORK, {'state_dict': bare}, NARROW | {'auxiliary': False})
    assert set(variables['params']) == {'backbone', 'decode_head'} and not model.auxiliary
    # Whether it is there need not be said.
    found, same = from_torch(NETWORK, {'meta': {}, 'state_dict': {f'module.{k}': v for k, v in bare.items()}}, NARROW)
    assert not found.auxiliary
    jax.tree.map(np.testing.assert_array_equal, same, variables)
    assert to_torch(NETWORK, same, NARROW).keys() == bare.keys()
    assert from_torch(NETWORK, wrapped, NARROW)[0].auxiliary
    with pytest.raises(ConversionError, match=r"missing key 'auxiliary_head\.conv_seg\.weight'"):
        from_torch(NETWORK, {'state_dict': bare}, NARROW | {'auxiliary': True})
    with pytest.raises(ConversionError, match=r"missing leaf 'params/auxiliary_head/conv_seg/kernel'"):
        to_torch(NETWORK, same, NARROW | {'auxiliary': True})
    some = {key: value for key, value in state.items() if key != 'auxiliary_head.conv_seg.weight'}
    with pytest.raises(ConversionError, match=r"1 problem\(s\).*\n  missing key 'auxiliary_head\.conv_seg\.weight'"):
        from_torch(NETWORK, some, NARROW)
    with pytest.raises(ConversionError, match=r"unused key 'auxiliary_head\.conv_seg\.weight'"):
        from_torch(NETWORK, state, NARROW | {'auxiliary': False})


@pytest.mark.parametrize(
    ('own', 'message'),
    [
        ({'in_channels': 1024}, r"'in_channels': expected 2048, the channels of the backbone's last map, got 1024"),
        ({'depth': 18}, r"'depth': expected one of \(50, 101\), got 18"),
        ({'filter_sizes': ()}, r"'filter_sizes': expected a list of ints >= 1, got \(\)"),
        ({'filter_sizes': 3}, r"'filter_sizes': expected a list of ints >= 1, got 3"),
        ({'dilations': (1, 1, 1, 2)}, r"'strides' and 'dilations': expected strides \[1, 2, 2, 2\] with dilations"),
        ({'dilations': (1, 2, 1, 2)}, r"'dilations': expected one of \[\[1, 1, 1, 1\]"),
        ({'contract_dilation': False}, r"'contract_dilation': expected true where a stage dilates, got False"),
        ({'auxilary': False}, r"unknown argument 'auxilary'.*auxiliary"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit(own, message):
    with pytest.raises(ConversionError, match=message):
        from_torch(NETWORK, {}, own)


def test_pretrained(tmp_path):
    """By name, with another classifier where other classes are wanted; the argument of the width reaches all parts."""
    own = {'stem_channels': 4, 'base_channels': 4, 'channels': 32, 'auxiliary_channels': 16, 'num_classes': 3}
    state = numpy_state(MIRRORS[NETWORK](**own))
    save_weights(tmp_path / 'dmnet.safetensors', state)
    model, variables = load_pretrained('dmnet_resnet50', tmp_path / 'dmnet.safetensors', width=1 / 16)
    assert model.num_classes == 3 and model.resize
    jax.tree.map(np.testing.assert_array_equal, variables, from_torch(NETWORK, state, own)[1])
    # The network is that of the reference but for what makes no difference to one that is trained.
    built, _ = from_torch(NETWORK, state, own | {'resize': True})
    shapes = [jax.eval_shape(m.apply, variables, jnp.zeros((1, 64, 64, 3))).shape for m in (built, model)]
    assert shapes == [(1, 64, 64, 3)] * 2
    assert model.backbone.clone(stem_map=False).feature_strides == built.backbone.feature_strides
    other, changed = load_pretrained('dmnet_resnet50', tmp_path / 'dmnet.safetensors', width=1 / 16, num_classes=4)
    assert other.num_classes == 4
    for head in ('decode_head', 'auxiliary_head'):
        assert changed['params'][head]['conv_seg']['kernel'].shape[-1] == 4
    np.testing.assert_array_equal(
        changed['params']['decode_head']['bottleneck']['conv']['kernel'],
        variables['params']['decode_head']['bottleneck']['conv']['kernel'],
    )


def test_pretrained_without_an_auxiliary_head_and_of_grey_images(tmp_path):
    own = {'stem_channels': 4, 'base_channels': 4, 'channels': 32, 'num_classes': 3, 'auxiliary': False}
    state = numpy_state(MIRRORS[NETWORK](**own))
    save_weights(tmp_path / 'bare.safetensors', state)
    model, variables = load_pretrained('dmnet_resnet50', tmp_path / 'bare.safetensors', width=1 / 16)
    assert not model.auxiliary and set(variables['params']) == {'backbone', 'decode_head'}
    with pytest.raises(ConversionError, match=r"missing key 'auxiliary_head\.conv_seg\.weight'"):
        load_pretrained('dmnet_resnet50', tmp_path / 'bare.safetensors', width=1 / 16, auxiliary=True)
    save_variables(tmp_path / 'flax.safetensors', variables)
    again, same = load_pretrained('dmnet_resnet50', tmp_path / 'flax.safetensors', width=1 / 16)
    assert not again.auxiliary
    jax.tree.map(np.testing.assert_array_equal, same, variables)

    grey = state | {'backbone.stem.0.weight': state['backbone.stem.0.weight'][:, :1]}
    save_weights(tmp_path / 'grey.safetensors', grey)
    model, variables = load_pretrained('dmnet_resnet50', tmp_path / 'grey.safetensors', width=1 / 16, in_channels=1)
    assert model.in_channels == 1
    assert jax.eval_shape(model.apply, variables, jnp.zeros((1, 64, 64, 1))).shape == (1, 64, 64, 3)
    save_variables(tmp_path / 'grey_flax.safetensors', variables)
    for fields in ({'in_channels': 1}, {}):
        _, same = load_pretrained('dmnet_resnet50', tmp_path / 'grey_flax.safetensors', width=1 / 16, **fields)
        jax.tree.map(np.testing.assert_array_equal, same, variables)
    with pytest.raises(ConversionError, match=r"'backbone\.stem\.0\.weight': expected shape \(2, 1, 3, 3\), got"):
        load_pretrained('dmnet_resnet50', tmp_path / 'bare.safetensors', width=1 / 16, in_channels=1)


def test_a_published_backbone_with_its_classifier(short):
    """The classifier is dropped, nothing else is; maps of some stages."""
    reference = 'mmseg.resnet50_v1c'
    module = MIRRORS[reference].func(SIZES, **BACKBONE)
    state = numpy_state(module)
    classifier = {'fc.weight': np.zeros((1000, 128), np.float32), 'fc.bias': np.zeros(1000, np.float32)}
    published = {'meta': {}, 'state_dict': {**state, **classifier}}
    model, variables = from_torch(reference, published, BACKBONE)
    assert set(to_torch(reference, variables, BACKBONE)) == set(state)
    with pytest.raises(ConversionError, match=r"1 problem\(s\).*\n  unused key 'fc\.scale'"):
        from_torch(reference, {**state, **classifier, 'fc.scale': np.zeros(1)}, BACKBONE)
    with pytest.raises(ConversionError, match=r"unused key 'fc\.weight'"):
        from_torch(NETWORK, {**numpy_state(MIRRORS[NETWORK](sizes=SIZES, **NARROW)), **classifier}, NARROW)
    x = jnp.zeros((1, 32, 40, 3))
    whole = jax.eval_shape(model.apply, variables, x)
    for stages in ((3,), (0, 2), [0, 1, 2, 3]):
        some, _ = from_torch(reference, state, BACKBONE | {'depth': 50, 'out_indices': stages})
        found = jax.eval_shape(some.apply, variables, x)
        assert [y.shape for y in found] == [whole[i].shape for i in stages]
    for wrong in ((), (4,), (0, 0), 3, (-1,)):
        with pytest.raises(ConversionError, match=r"'out_indices': expected different ints from 0 to 3, got"):
            from_torch(reference, state, BACKBONE | {'out_indices': wrong})
    with pytest.raises(ConversionError, match=r"'depth': expected one of \(50,\), got 101"):
        from_torch(reference, state, BACKBONE | {'depth': 101})


@pytest.mark.slow
@pytest.mark.parametrize('depth', [50, 101])
def test_published_depths(tmp_path, depth):
    own = NARROW | {'depth': depth}
    module = lively(MIRRORS[NETWORK](**own), inputs=images(2, (64, 48)) if depth == 50 else None)
    save_reference_case(tmp_path / 'case.npz', module, reference=NETWORK, arguments=own, inputs=images(2, (64, 48)))
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-9)
    assert report.ok, str(report)
