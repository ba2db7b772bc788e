"""CondInst and its backbones against live PyTorch mirrors with AdelaiDet's keys, in float64; files, buffers."""

import ast
from pathlib import Path

import jax
import numpy as np
import pytest

from flax_dynconv.convert import (
    ConversionError,
    from_torch,
    get_reference,
    load_case,
    save_reference_case,
    to_torch,
    verify,
)
from flax_dynconv.convert.arguments import plain
from flax_dynconv.convert.engine import expected_leaves
from flax_dynconv.convert.references import condinst_network, detectron2
from flax_dynconv.models import INSTANCE_NETWORKS
from tests.models.tiny import quick
from tests.sgd import numpy_state
from tests.torch_mirrors import torch
from tests.torch_mirrors.lively import lively
from tests.torch_mirrors.registry import MIRRORS

NETWORK = 'condinst.CondInst'
# One bottleneck in each stage, few channels.
SIZES = (1, 1, 1, 1)
BACKBONE = {'stem_out_channels': 4, 'res2_out_channels': 16}
NARROW = {**BACKBONE, 'fpn_out_channels': 32, 'num_classes': 3, 'num_cls_convs': 1, 'num_box_convs': 1}
NARROW |= {'mask_branch_channels': 8, 'mask_branch_num_convs': 1}
SEMANTIC = NARROW | {'semantic_loss_on': True}


@pytest.fixture
def short(monkeypatch):
    """The references with stages of one block."""
    network, resnet = condinst_network.network, detectron2.resnet

    def shorter(name, **fields):
        model = network(name, **fields)
        return model.clone(backbone=model.backbone.clone(stage_sizes=SIZES))

    monkeypatch.setattr(condinst_network, 'network', shorter)
    monkeypatch.setattr(detectron2, 'resnet', lambda depth, **fields: resnet(depth, **fields).clone(stage_sizes=SIZES))


def mirror(**own):
    """The network with every number drawn but for what follows from its settings."""
    return with_sizes(lively(MIRRORS[NETWORK](sizes=SIZES, **own)))


def with_sizes(module, sizes=(64, 128, 256, 512, 1024)):
    for name, buffer in module.named_buffers():
        if name.endswith('sizes_of_interest'):
            buffer.copy_(torch.tensor(sizes))
    return module


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(size=(64, 96), batch=2):
    return draw(batch, 3, *size)


def channels_last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def keys_and_shapes(reference, own=None):
    """Of the table and of the buffers, as the reference's Flax module has them."""
    record = get_reference(reference)
    bound = record.signature.bind(reference, own)
    table = record.table(bound)
    expected = expected_leaves(record.build(bound, None, None), record.example(bound), record.call(False), table)
    shapes = {key: buffer.value.shape for key, buffer in record.buffers(bound).items()}
    for path, leaf in expected.items():
        key, transform = table.to_torch(path)
        shapes[key] = transform.to_torch(np.zeros(leaf.shape, np.int8)).shape
    return shapes


@pytest.mark.parametrize(
    ('reference', 'own'),
    [
        ('detectron2.R-101', {}),
        (NETWORK, {'semantic_loss_on': True, 'mask_branch_out_channels': 16}),
    ],
    ids=str,
)
def test_keys_and_shapes(reference, own):
    with torch.device('meta'):
        state = MIRRORS[reference](**own).state_dict()
    assert keys_and_shapes(reference, own) == {key: tuple(tensor.shape) for key, tensor in state.items()}


def test_published_numbers_of_parameters():
    shapes = keys_and_shapes(NETWORK, {'semantic_loss_on': False})
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')

    def count(*prefixes):
        return sum(int(np.prod(s)) for k, s in shapes.items() if k.startswith(prefixes) and not k.endswith(statistics))

    assert count('proposal_generator.') == 4_920_666
    assert count('controller.') == 389_545
    assert count('mask_branch.') == 1_477_384
    assert count('backbone.fpn', 'backbone.top_block') == 3_868_672
    assert shapes['mask_head.sizes_of_interest'] == (5,) and shapes['mask_head._iter'] == (1,)
    assert not any('bottom_up' in key and 'num_batches' in key for key in shapes)


@pytest.mark.parametrize(
    'own',
    [
        {'num_layers': 1},
        {'num_layers': 4, 'channels': 3, 'in_channels': 5, 'mask_feat_stride': 4, 'sizes_of_interest': (32, 99)},
        {'disable_rel_coords': True, 'num_gen_params': 153, 'mask_out_stride': 1},
    ],
    ids=str,
)
def test_mask_heads(tmp_path, own):
    """Networks of any depth and width, on given inputs and on features of an image, from a file."""
    settings = {name: value for name, value in own.items() if name != 'num_gen_params'}
    sizes = own.get('sizes_of_interest', (64, 128, 256, 512, 1024))
    for name in ('DynamicMaskHead', 'DynamicMaskHeadWithCoords'):
        module = with_sizes(MIRRORS[f'condinst.{name}'](**settings).double(), sizes)
        params = draw(5, module.generated)
        inputs = params, draw(5, module.shapes[0][1], 4, 6, seed=1)
        if name != 'DynamicMaskHead':
            features = draw(3, settings.get('in_channels', 8), 4, 6, seed=1)
            levels = torch.tensor([0, 1, 1, 0, len(sizes) - 1])
            inputs = params, features, 40 * draw(5, 2, seed=2), levels, torch.tensor([2, 0, 0, 1, 2])
        path = tmp_path / f'{name}.npz'
        save_reference_case(path, module, reference=f'condinst.{name}', arguments=own, inputs=inputs)
        report = verify(path, dtype='float64', tolerance=1e-11)
        assert report.ok and len(report.outputs) == 1, str(report)


def test_a_mask_head_has_no_weights(tmp_path):
    """Neither its call nor a file needs any; buffers that are given are carried, and wrong ones are an error."""

    class Bare(torch.nn.Module):
        def forward(self, params, features):
            return MIRRORS['condinst.DynamicMaskHead']()(params, features)

    reference = 'condinst.DynamicMaskHead'
    inputs = draw(3, 169).float(), draw(3, 10, 4, 5).float()
    save_reference_case(tmp_path / 'case.npz', Bare(), reference=reference, arguments={}, inputs=inputs)
    assert not load_case(tmp_path / 'case.npz').state_dict
    assert verify(tmp_path / 'case.npz').ok
    head, variables = from_torch(reference, {})
    assert variables == {}
    assert head.apply(variables, inputs[0].numpy(), channels_last(inputs[1])).shape == (3, 4, 5, 1)
    state = {'mask_head.sizes_of_interest': np.array([64, 128, 256, 512, 1024]), 'mask_head._iter': np.ones(1)}
    back = to_torch(reference, from_torch(reference, state)[1])
    assert back.keys() == {'sizes_of_interest', '_iter'} and back['_iter'] == 1
    state['mask_head.sizes_of_interest'][0] = 65
    expected = r"'sizes_of_interest': expected \[64, 128, 256, 512, 1024\] for these arguments, got \[65, 128"
    with pytest.raises(ConversionError, match=expected):
        from_torch(reference, state)
    with pytest.raises(ConversionError, match=r"unused key 'weight'"):
        from_torch(reference, {'weight': np.ones(3)})


def test_mask_branch_with_the_semantic_head(tmp_path):
    """A step of training, of weights whose keys have a prefix, which the state after it has too."""

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.mask_branch = lively(MIRRORS['condinst.MaskBranch'](6, 5, 2, 3, semantic_classes=4))

        def forward(self, *maps):
            return self.mask_branch(*maps)

    own = {'cin': 6, 'ch': 5, 'nc': 2, 'cm': 3, 'num_classes': 4}
    inputs = tuple(draw(2, 6, 16 // n, 24 // n, seed=n) for n in (1, 2, 4))
    settings = {'reference': 'condinst.MaskBranch', 'arguments': own, 'inputs': inputs}
    case = save_reference_case(tmp_path / 'case.npz', Whole(), train=True, **settings)
    assert all(key.startswith('mask_branch.') for key in case.state_after)
    report = verify(case, dtype='float64', tolerance=1e-10)
    assert report.ok and len(report.outputs) == 2, str(report)
    assert len(report.state_after) == len(case.state_after) > 0


def test_network_and_gradient_of_its_input(short):
    """Every output and what the images get back from all of them; strides, pyramid, levels and resizing in one."""
    # A map of one position would be constant behind a norm of one channel for each group.
    module, x = mirror(**SEMANTIC).eval(), images((64, 160))
    x.requires_grad_()
    levels, (features, semantic) = module(x)
    expected = [*(y for level in levels for y in level), features, semantic]
    weights = [draw(*y.shape, seed=i) for i, y in enumerate(expected)]
    sum((y * w).sum() for y, w in zip(expected, weights, strict=True)).backward()

    record = get_reference(NETWORK)
    with jax.enable_x64(True), jax.default_matmul_precision('highest'):
        model, variables = from_torch(NETWORK, numpy_state(module), NARROW)
        assert model.semantic

        def loss(images, cotangents):
            outputs = model.apply(variables, images, **record.call(False))
            return sum((y * w).sum() for y, w in zip(outputs, cotangents, strict=True)), outputs

        step = quick(jax.grad(loss, has_aux=True))
        gradient, found = jax.device_get(step(channels_last(x), [channels_last(w) for w in weights]))
        maps = jax.eval_shape(model.apply, variables, channels_last(x))
    assert len(found) == 4 * 5 + 2
    for i, (y, target) in enumerate(zip(found, expected, strict=True)):
        assert target.std() > 1e-3, i
        np.testing.assert_allclose(y, channels_last(target), rtol=0, atol=1e-9, err_msg=str(i))
    scale = x.grad.abs().max().item()
    assert scale > 0
    np.testing.assert_allclose(gradient, channels_last(x.grad), rtol=0, atol=1e-9 * max(1.0, scale))
    # The module itself returns the same by kind.
    assert [y.shape for y in maps.boxes] == [y.shape for y in found[1:20:4]]
    assert maps.semantic.shape == found[-1].shape and maps.mask_features.shape == found[-2].shape


@pytest.mark.slow
@pytest.mark.parametrize('depth', [50, 101])
def test_published_depths(tmp_path, depth):
    module = with_sizes(lively(MIRRORS[NETWORK](depth=depth)))
    settings = {'reference': NETWORK, 'arguments': {'depth': depth}, 'inputs': images((64, 160), 1)}
    save_reference_case(tmp_path / 'case.npz', module, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-9)
    assert report.ok and len(report.outputs) == 21, str(report)


def test_training_mode_and_activations(short, tmp_path):
    """The norms of the backbone are frozen, those of the mask branch are not; every module has a counterpart."""
    module = mirror(**NARROW)
    wanted = ['backbone.bottom_up.stem.conv1', 'backbone.bottom_up.res2.0.shortcut', 'backbone.bottom_up.res3.0.conv1']
    wanted += ['backbone.bottom_up.res5.0', 'backbone.fpn_lateral4', 'backbone.fpn_output3', 'backbone.top_block.p7']
    wanted += ['proposal_generator.fcos_head.cls_tower.0', 'proposal_generator.fcos_head.bbox_tower.1', 'controller']
    wanted += [
        'proposal_generator.fcos_head.ctrness',
        'mask_branch.refine.2',
        'mask_branch.tower.0',
        'mask_branch.tower.1',
    ]
    settings = {'reference': NETWORK, 'arguments': NARROW, 'inputs': images((64, 64)), 'activations': wanted}
    case = save_reference_case(tmp_path / 'case.npz', module, train=True, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-9)
    assert report.ok and report.first_difference is None and not report.skipped, str(report)
    assert len(report.outputs) == 21 and len(report.activations) == len(wanted)
    assert {c.name.removeprefix('state_after/') for c in report.state_after} == dict(module.named_buffers()).keys()
    before, after = (
        table['backbone.bottom_up.res3.0.conv2.norm.running_mean'] for table in (case.state_dict, case.state_after)
    )
    np.testing.assert_array_equal(before, after)


def test_a_checkpoint_of_adelaidet(short):
    """As it lies in a file, with `_iter` and without; the semantic head is inferred; and back."""
    state = numpy_state(mirror(**SEMANTIC).float())
    checkpoint = {'model': state, 'iteration': 89_999, 'optimizer': {'state': {}, 'param_groups': []}}
    model, variables = from_torch(NETWORK, checkpoint, NARROW)
    assert model.semantic and model.frozen_norm and model.num_parameters == 169
    back = to_torch(NETWORK, variables, NARROW)
    assert back.keys() == state.keys()
    assert all(back[k].tobytes() == v.tobytes() and back[k].dtype == v.dtype for k, v in state.items())

    old = {key: value for key, value in state.items() if key != 'mask_head._iter'}
    assert to_torch(NETWORK, from_torch(NETWORK, {'model': old}, NARROW)[1], NARROW).keys() == old.keys()
    bare = {key: value for key, value in old.items() if not key.startswith(('mask_branch.logits', 'mask_branch.seg'))}
    found, without = from_torch(NETWORK, {'model': bare}, NARROW)
    assert not found.semantic and to_torch(NETWORK, without, NARROW).keys() == bare.keys()
    with pytest.raises(ConversionError, match=r"missing key 'mask_branch\.logits\.bias'"):
        from_torch(NETWORK, bare, SEMANTIC)

    scratch = {name: tree for name, tree in variables.items() if name != 'torch_buffers'}
    made = to_torch(NETWORK, scratch, NARROW)
    assert made['mask_head.sizes_of_interest'].tolist() == [64, 128, 256, 512, 1024]
    assert made['mask_head.sizes_of_interest'].dtype == np.int64 and made['mask_head._iter'].tolist() == [0.0]
    module = MIRRORS[NETWORK](sizes=SIZES, **SEMANTIC)
    module.load_state_dict({key: torch.as_tensor(value) for key, value in made.items()}, strict=True)


def test_a_checkpoint_that_does_not_fit(short):
    state = numpy_state(mirror(**NARROW).float())
    state['mask_head.sizes_of_interest'] = np.array([32, 64, 128, 256, 512])
    state['mask_head._iter'] = np.zeros(2, np.float32)
    state['mask_head.iter'] = np.zeros(1, np.float32)
    state['backbone.bottom_up.stem.conv1.norm.num_batches_tracked'] = np.zeros((), np.int64)
    del state['controller.bias']
    with pytest.raises(ConversionError) as caught:
        from_torch(NETWORK, state, NARROW)
    for part in (
        '5 problem(s)',
        "'mask_head.sizes_of_interest': expected [64, 128, 256, 512, 1024] for these arguments, got [32, 64, 128, 256,",
        "'mask_head._iter': expected shape (1,), got (2,)",
        "unused key 'mask_head.iter'",
        "unused key 'backbone.bottom_up.stem.conv1.norm.num_batches_tracked'",
        "missing key 'controller.bias' (for params/fcos_head/controller/bias)",
    ):
        assert part in str(caught.value)
    state = numpy_state(mirror(**NARROW).float())
    state['mask_head.sizes_of_interest'] = np.array([32, 64, 128, 256, 512])
    assert (
        from_torch(NETWORK, state, NARROW | {'sizes_of_interest': [32, 64, 128, 256, 512]})[0].sizes_of_interest[0]
        == 32
    )


@pytest.mark.parametrize('stride_in_1x1', [True, False])
def test_backbones(short, tmp_path, stride_in_1x1):
    """Both places of the stride, odd sizes, some stages; norms are frozen in training mode too."""
    own = BACKBONE | {'stride_in_1x1': stride_in_1x1, 'out_features': ('res2', 'res5')}
    module = lively(MIRRORS['detectron2.R-50'].func(SIZES, **own))
    settings = {'reference': 'detectron2.R-50', 'arguments': own, 'inputs': images((45, 38))}
    settings['activations'] = ['stem.conv1', 'res3.0.conv1', 'res4.0.shortcut', 'res5.0']
    case = save_reference_case(tmp_path / 'case.npz', module, train=True, **settings)
    report = verify(case, dtype='float64', tolerance=1e-10)
    assert report.ok and report.first_difference is None and not report.skipped, str(report)
    assert len(report.outputs) == 2 and len(report.state_after) == len(case.state_after) > 0


def test_a_published_backbone(short):
    """The classifier and the bias of the first convolution are dropped; a round trip of the rest."""
    reference = 'detectron2.R-50'
    state = numpy_state(MIRRORS[reference].func(SIZES, **BACKBONE))
    published = state | {'fc1000.weight': np.zeros((1000, 128)), 'fc1000.bias': np.zeros(1000)}
    published |= {'stem.conv1.bias': np.zeros(4)}
    _, variables = from_torch(reference, {'model': published, '__author__': 'MSRA'}, BACKBONE)
    back = to_torch(reference, variables, BACKBONE)
    assert back.keys() == state.keys() and all(back[k].tobytes() == v.tobytes() for k, v in state.items())
    with pytest.raises(ConversionError, match=r"missing key 'res2\.0\.conv1\.norm\.weight'"):
        from_torch(reference, {k: v for k, v in state.items() if k != 'res2.0.conv1.norm.weight'}, BACKBONE)


@pytest.mark.parametrize('depth', [50, 101])
def test_the_network_by_name_is_that_of_the_reference(depth):
    record = get_reference(NETWORK)
    built = record.build(record.signature.bind(NETWORK, {'depth': depth, 'semantic_loss_on': False}), None, None)
    named = INSTANCE_NETWORKS[f'condinst_resnet{depth}']()
    # Here the stem's channels are said.
    assert built.backbone.stem_features == named.backbone.features
    assert built.clone(backbone=built.backbone.clone(stem_features=None)) == named


def documented(reference):
    """{argument: default} of a table in the documentation."""
    page = (Path(__file__).parents[2] / 'docs' / 'convert.md').read_text()
    section = page.split(f'## {reference}\n')[1].split('\n## ')[0]
    rows = [line.split(' | ') for line in section.splitlines() if line.startswith('| `')]
    named = {'true': True, 'false': False, 'null': None}
    return {row[0].strip('| `'): named[row[1]] if row[1] in named else plain(ast.literal_eval(row[1])) for row in rows}


@pytest.mark.parametrize(
    'reference',
    [NETWORK, 'condinst.DynamicMaskHead', 'condinst.MaskBranch', 'condinst.FCOSHead', 'detectron2.R-50'],
)
def test_documented_arguments(reference):
    assert documented(reference) == get_reference(reference).signature.defaults


@pytest.mark.parametrize(
    ('reference', 'own', 'message'),
    [
        (NETWORK, {'depth': 18}, r"'depth': expected one of \(50, 101\), got 18"),
        (NETWORK, {'num_cls_convs': 2}, r"'num_cls_convs' and 'num_box_convs': expected equal ones, got 2 and 4"),
        (NETWORK, {'fpn_out_channels': 48}, r"'fpn_out_channels': expected a multiple of 32, .*got 48"),
        (NETWORK, {'res2_out_channels': 6}, r"'res2_out_channels': expected a multiple of 4, got 6"),
        (NETWORK, {'sizes_of_interest': [64, 128]}, r"'sizes_of_interest': expected 5 ints >= 1, .*got \(64, 128\)"),
        (NETWORK, {'semantic_loss': True}, r"unknown argument 'semantic_loss'.*semantic_loss_on"),
        ('condinst.DynamicMaskHead', {'num_gen_params': 153}, r"'num_gen_params': expected 169 .*, got 153"),
        ('condinst.DynamicMaskHead', {'num_layers': 0}, r"'num_layers': expected an int >= 1, got 0"),
        (
            'condinst.DynamicMaskHeadWithCoords',
            {'out_stride': 3},
            r'out_stride: expected a divisor of stride = 8, got 3',
        ),
        ('condinst.FCOSHead', {'levels': 9}, r"'num_levels': expected one of \(1, .*, 8\), got 9"),
        ('condinst.MaskBranch', {'semantic_loss_on': 1}, r"'semantic_loss_on': expected true or false, got 1"),
        ('detectron2.R-50', {'out_features': ['res4', 'res3']}, r"'out_features': expected some of .* in this order"),
        ('detectron2.R-50', {'depth': 101}, r"'depth': expected one of \(50,\), got 101"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit(reference, own, message):
    with pytest.raises(ConversionError, match=message):
        from_torch(reference, {}, own)
