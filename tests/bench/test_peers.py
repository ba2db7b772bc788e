"""PyTorch's forms compute what the library computes, and its networks have as many parameters as the library's."""

import dataclasses

import numpy as np
import pytest

from flax_dynconv.bench import cells, head_cell
from flax_dynconv.bench.operator_cell import OperatorCell
from flax_dynconv.ops.shapes import WORKLOADS

torch = pytest.importorskip('torch')

# One of every kind of call, and what is made small of it.
SMALL = {
    'resnet18_14x14_down': {'in_features': 4, 'out_features': 6},
    'odconv4x_14x14': {'in_features': 4, 'out_features': 6},
    'odconv4x_depthwise_14x14': {'in_features': 4, 'out_features': 4, 'feature_group_count': 4},
    'efficientnet_depthwise_14x14_down': {'in_features': 4, 'out_features': 4, 'feature_group_count': 4},
    'dynet_mobile_grouped_14x14': {'in_features': 4, 'out_features': 6, 'feature_group_count': 2},
    'dcm_3x3': {'in_features': 4, 'out_features': 4, 'feature_group_count': 4},
    'ddpm4_dilation3': {'in_features': 4, 'out_features': 4, 'kernel_count': 4},
    'dfn_stereo_1x13': {},
    'dfn_multichannel_9x9': {},
}
FORMS = ('chosen', 'xla_unfold')


def outcomes(programs, names=None):
    return {p.key: p.build().run() for p in programs if names is None or p.name in names}


@pytest.mark.parametrize('name', SMALL)
def test_operators(name):
    workload = dataclasses.replace(WORKLOADS[name], spatial=(6, 6), **SMALL[name])
    cell = OperatorCell(workload)
    ours, theirs = outcomes(cell.jax_programs(2, 'chosen'), (*FORMS, 'static')), outcomes(cell.torch_programs(2))
    names = tuple(cell.shapes(2))
    for form in {key.split('/')[0] for key in ours} - {'static'}:
        for peer in {key.split('/')[0] for key in theirs} - {'torch_static'}:
            check(workload, names, ours, theirs, form, peer)
    check(workload, ('x', 'static_kernel'), ours, theirs, 'static', 'torch_static')


def check(workload, names, ours, theirs, form, peer):
    from flax_dynconv.bench.peers.operators import to_torch

    def same(name, a, b):
        np.testing.assert_allclose(to_torch(workload, name, np.array(a)), b, rtol=2e-5, atol=2e-5, err_msg=name)

    same('cotangent', ours[f'{form}/forward'], theirs[f'{peer}/forward'])
    gradients = zip(names, ours[f'{form}/gradient'][1], theirs[f'{peer}/gradient'], strict=True)
    for name, a, b in gradients:
        same(name, a, b)


def test_instance_head(monkeypatch):
    for name, value in (('INSTANCES', 3), ('HEIGHT', 6), ('WIDTH', 7)):
        monkeypatch.setattr(head_cell, name, value)
    cell = head_cell.HeadCell()
    ours, theirs = outcomes(cell.jax_programs(2, 'chosen'), ('chosen',)), outcomes(cell.torch_programs(2))
    np.testing.assert_allclose(ours['chosen/forward'], theirs['torch_grouped/forward'], rtol=2e-5, atol=2e-5)
    features, vector = ours['chosen/gradient'][1]
    theirs = theirs['torch_grouped/gradient']
    np.testing.assert_allclose(features, theirs[0].movedim(1, -1), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(vector, theirs[1], rtol=2e-5, atol=5e-5)


@pytest.mark.parametrize('name', cells.NETWORKS)
def test_networks_have_the_parameters_of_the_library(name):
    from flax_dynconv.bench.peers.networks import NETWORKS
    from flax_dynconv.models.registry import static_twin

    counts = {n: cells.NetworkCell(n).facts(2)['parameters'] for n in (name, static_twin(name))}
    for program, make in NETWORKS[name].items():
        with torch.device('meta'):
            network, images = make().eval(), torch.zeros(2, 3, 32, 32)
        expected = counts[static_twin(name) if program == 'torch_static' else name]
        assert sum(parameter.numel() for parameter in network.parameters()) == expected
        assert network(images).shape == (2, 1000)


MIRRORED = {
    'odconv_resnet18_4x': ('odconv.od_resnet18', {'kernel_num': 4, 'dropout': 0.0}, 'torchvision.resnet18'),
    'odconv_mobilenetv2_100_1x': ('odconv.od_mobilenetv2_100', {'kernel_num': 1}, 'torchvision.mobilenet_v2'),
    'condconv_efficientnet_b0_4e': ('timm.tf_efficientnet_cc_b0_4e', {}, 'timm.tf_efficientnet_b0'),
}


def fill(network):
    """Values that depend on the kind and the shape of an array and on how many of those came before it."""
    seen = {}
    for name, array in (*network.named_parameters(), *network.named_buffers()):
        if array.dtype.is_floating_point:
            # Filters of a 1x1 convolution, and of a linear layer, count as one shape.
            kind, shape = name.split('.')[-1], tuple(n for n in array.shape if n > 1)
            count = seen[kind, shape] = seen.get((kind, shape), -1) + 1
            values = np.random.default_rng([*kind.encode(), *shape, count]).standard_normal(array.shape)
            if len(shape) > 1:
                # Of a bank the first axis counts kernels, which may be written as rows.
                values *= np.sqrt(2 / np.prod(array.shape[-3:] if array.ndim > 3 else shape[1:]))
            else:
                values = np.clip(0.2 * values, -0.5, 0.5) + (kind in ('weight', 'running_var'))
            array.data = torch.from_numpy(values)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    # In training every norm sees what comes: in evaluation the signal would vanish on its way.
    return network.double().train()


@pytest.mark.parametrize('name', MIRRORED)
def test_networks_compute_what_the_mirrors_of_the_references_compute(name):
    from flax_dynconv.bench.peers.networks import NETWORKS
    from tests.torch_mirrors.registry import MIRRORS

    reference, arguments, static = MIRRORED[name]
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 64, 64)))
    with torch.no_grad():
        expected, plain = (fill(m)(images).numpy() for m in (MIRRORS[reference](**arguments), MIRRORS[static]()))
        for program, make in NETWORKS[name].items():
            found, wanted = fill(make())(images).numpy(), plain if program == 'torch_static' else expected
            assert np.abs(wanted[0] - wanted[1]).max() > 1e-3 * np.abs(wanted).max()
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max(), err_msg=program)


def test_plain_networks_have_the_convolutions_of_flax():
    import jax
    import jax.numpy as jnp

    from flax_dynconv.bench import network_programs
    from flax_dynconv.models import create_model
    from tests.jaxprs import equations

    images = jnp.ones((1, 32, 32, 3))
    for name, depthwise in (('mobilenetv2_100', 17), ('resnet18', 0)):
        model, counts = create_model(name), []
        assert network_programs.is_depthwise(model, images) == bool(depthwise)
        for each in (model, network_programs.plain(model)):
            jaxpr = jax.make_jaxpr(lambda key, each=each: each.init_with_output(key, images))(jax.random.key(0))
            counts.append([e.primitive.name for e in equations(jaxpr.jaxpr)].count('static_depthwise_apply'))
        assert counts == [depthwise, 0]
