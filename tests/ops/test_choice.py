"""What `implementation=None` takes: candidates that can do the case, cheap to find, and right where that is obvious."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import export

from flax_dynconv import ops
from flax_dynconv.ops.choice import choosing
from flax_dynconv.ops.choice.candidates import CANDIDATES, PLATFORMS
from flax_dynconv.ops.choice.work import KINDS
from flax_dynconv.ops.explain import case_of
from flax_dynconv.ops.shapes import BATCHES, WORKLOADS
from tests.tolerances import assert_close


@functools.cache
def case(name, batch):
    workload = WORKLOADS[name]
    arrays = {n: jax.ShapeDtypeStruct(shape, 'float32') for n, shape in workload.shapes(batch).items()}
    return case_of(getattr(ops, workload.operator), **arrays, **workload.options)[0]


CELLS = [(name, batch) for name in WORKLOADS for batch in BATCHES]
every_cell = pytest.mark.parametrize(('name', 'batch'), CELLS)


@every_cell
def test_every_workload_has_a_choice_that_can_do_it(name, batch):
    for passes in choosing.PASSES:
        chosen = choosing.chosen(case(name, batch), passes=passes)
        assert set(chosen) == set(PLATFORMS)
        for platform, form in chosen.items():
            assert form in choosing.candidates(case(name, batch), platform)
            assert case(name, batch).declines(form) is None
        assert chosen == choosing.chosen(case(name, batch), passes=passes)
        assert choosing.forms(case(name, batch), None, passes)[-1][0] == 'default'


@pytest.mark.parametrize(('forward', 'backward'), [('columns', 'blocks'), ('loop', 'patches'), ('blocks', 'loop')])
def test_the_passes_may_be_those_of_two_forms(forward, backward, monkeypatch):
    names = {'forward': forward, 'backward': backward}
    monkeypatch.setattr(choosing, 'chosen', lambda case, autotune, passes: dict.fromkeys(PLATFORMS, names[passes]))
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = (3, 6, 5, 4), (2, 3, 3, 4, 6), (3, 2), (3, 3, 3)
    *operands, tap_scale = (jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))

    def results(implementation):
        def function(*operands):
            y = ops.mixture_conv(*operands[:3], tap_scale=operands[3], implementation=implementation)
            return (y**2).sum(), y

        return jax.value_and_grad(function, argnums=range(4), has_aux=True)

    (_, y), gradients = results(None)(*operands, tap_scale)
    (_, expected), expected_gradients = results('reference')(*operands, tap_scale)
    assert_close(y, expected)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        assert_close(found, wanted)


def test_a_single_pass_counts_on_cpu_alone():
    for name, batch in CELLS:
        both, *each = (choosing.chosen(case(name, batch), passes=p) for p in ('both', 'forward', 'backward'))
        assert all({**found, 'cpu': None} == {**both, 'cpu': None} for found in each)


@every_cell
def test_the_work_of_every_form_is_counted(name, batch):
    for form in case(name, batch).forms:
        if case(name, batch).declines(form) is None:
            forward, gradient = case(name, batch).work(form)
            assert forward.keys() | gradient.keys() <= set(KINDS)
            assert min(*forward.values(), *gradient.values()) >= 0
            for platform in PLATFORMS:
                assert 0 < choosing.seconds(forward, platform) <= choosing.seconds(gradient, platform)


@pytest.mark.parametrize('platform', PLATFORMS)
def test_every_table_has_every_constant(platform):
    constants = choosing.CONSTANTS[platform]
    assert tuple(constants) == KINDS and min(constants.values()) >= 0


@pytest.mark.parametrize(
    ('name', 'batch', 'expected'),
    [
        ('dcm_3x3', 8, ['taps']),
        ('odconv4x_depthwise_14x14', 8, ['taps']),
        ('mobilenetv2_depthwise_56x56', 32, ['taps']),
        ('ddpm4_dilation3', 8, ['taps']),
        ('resnet18_56x56', 8, ['loop']),
        ('resnet18_56x56', 32, ['loop']),
        ('odconv4x_28x28', 8, ['loop']),
        ('resnet18_7x7', 32, ['blocks']),
        ('mobilenetv2_expand_14x14', 8, ['patches', 'blocks']),
        ('efficientnet_project_14x14', 8, ['patches', 'blocks']),
    ],
)
def test_obvious_choices_on_cpu(name, batch, expected):
    assert choosing.chosen(case(name, batch))['cpu'] in expected


@pytest.mark.parametrize('name', [n for n, w in WORKLOADS.items() if w.operator == 'mixture_conv'])
def test_on_tpu_features_are_mixed(name):
    workload = WORKLOADS[name]
    expected = 'features_out' if workload.per_output else 'features_in'
    for batch in (8, 32):
        expected = 'taps' if case(name, batch).spec.depthwise else expected
        assert choosing.chosen(case(name, batch))['tpu'] == expected


def test_on_tpu_one_kernel_without_factors_per_tap_is_a_static_convolution():
    arrays = jnp.ones((8, 6, 6, 8)), jnp.ones((1, 3, 3, 8, 8)), jnp.ones((8, 1))
    assert ops.explain(ops.mixture_conv, *arrays).chosen['tpu'] == 'features_out'


def test_wide_kernels_per_position_are_one_product():
    x = jnp.ones((2, 16, 16, 32))
    chosen = ops.explain(ops.per_position_conv, x, jnp.ones((2, 16, 16, 3, 3, 32, 32))).chosen
    assert set(chosen.values()) == {'patches'}


def test_nothing_that_gathers_is_a_candidate():
    named = {form for by_platform in CANDIDATES.values() for forms in by_platform.values() for form in forms}
    assert not {'grouped', 'reference'} & named


def test_a_symbolic_batch_counts_as_eight():
    (b,) = export.symbolic_shape('b')
    for name in ('resnet18_14x14', 'mobilenetv2_depthwise_7x7', 'dfn_mnist_9x9', 'condinst_layer1'):
        symbolic = case(name, b)
        if WORKLOADS[name].instances == 1:
            assert choosing.chosen(symbolic) == choosing.chosen(case(name, 8))
        assert symbolic.declines(choosing.chosen(symbolic)['cpu']) is None


def test_choosing_computes_nothing():
    """The choice is made at every trace: nothing of it may become part of the program."""

    def told(x, kernels, weights):
        ops.explain(ops.mixture_conv, x, kernels, weights)
        return x

    shapes = (8, 14, 14, 16), (4, 3, 3, 16, 16), (8, 4)
    jaxpr = jax.make_jaxpr(told)(*(jax.ShapeDtypeStruct(shape, 'float32') for shape in shapes))
    assert not jaxpr.eqns


def test_forms_that_differ_by_platform_differentiate_as_the_definition(monkeypatch):
    """A per-sample form of CPU beside another of TPU: each in its own program, with its own gradients."""
    cpu = {'cpu': 'loop', 'tpu': 'patches', 'default': 'patches'}
    monkeypatch.setattr(choosing, 'chosen', lambda *_: dict(cpu))
    x = jax.random.normal(jax.random.key(0), (2, 5, 4, 3))
    w = jax.random.normal(jax.random.key(1), (2, 3, 3, 3, 4))

    def loss(implementation, x, w):
        return (ops.per_sample_conv(x, w, implementation=implementation) ** 2).sum()

    gradient = jax.jit(jax.grad(functools.partial(loss, None), (0, 1)))
    jax.tree.map(assert_close, gradient(x, w), jax.grad(functools.partial(loss, 'reference'), (0, 1))(x, w))
    texts = [gradient.trace(x, w).lower(lowering_platforms=(p,)).as_text() for p in ('cpu', 'tpu')]
    assert ['stablehlo.convolution' in text for text in texts] == [True, False]
