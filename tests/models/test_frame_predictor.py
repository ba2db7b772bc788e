"""The frame predictors: published sizes, the feedback of predictions, padding, dtypes, transformations, errors."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from flax_dynconv.models import FRAME_PREDICTORS, FramePredictor, UntiedConv, count
from tests.jaxprs import equations
from tests.models.tiny import quick
from tests.tolerances import assert_close
from tests.x64 import x64

# Name -> parameters as published, frames in.
PUBLISHED = {
    'dfn_moving_mnist': (637_361, 10),
    'dfn_moving_mnist_baseline': (637_443, 10),
    'dfn_highway': (368_122, 3),
    'dfn_highway_baseline': (368_245, 3),
    'dfn_stereo': (464_494, 1),
    'dfn_stereo_baseline': (464_509, 1),
}
WIDTH, SIZE = 1 / 16, (8, 6)
small = {name: functools.partial(make, width=WIDTH) for name, make in FRAME_PREDICTORS.items()}


def frames(count, channels=1, batch=2, dtype=np.float32, size=SIZE):
    return np.random.default_rng(0).uniform(size=(batch, count, *size, channels)).astype(dtype)


@functools.cache
def initial(model, given=None, channels=1):
    """Random variables, drawn here: compiling the initialisation takes longer. No bias is 0."""
    rng = np.random.default_rng(1)
    given = model.buffer_len if given is None else given
    shapes = jax.eval_shape(model.init, jax.random.key(0), frames(given, channels))

    def draw(leaf):
        scale = 0.1 if leaf.ndim == 1 else (2 * leaf.shape[-1] / leaf.size) ** 0.5 if leaf.ndim == 4 else 0.1
        return rng.normal(0, scale, leaf.shape).astype(leaf.dtype)

    return jax.tree.map(draw, shapes)


def in_float64(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)


def test_every_predictor_is_known():
    assert set(PUBLISHED) == set(FRAME_PREDICTORS)


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_parameters(name):
    parameters, given = PUBLISHED[name]
    model = FRAME_PREDICTORS[name]()
    x = jax.ShapeDtypeStruct((1, given, 64, 64, 1), jnp.float32)
    assert count(model, x).parameters == parameters
    y, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), x)
    assert y.shape == (1, model.output_frames, 64, 64, 1)
    own = {'enc_0', 'mid', 'dec_0', 'pre', 'filt', *(['hid_1'] if 'stereo' not in name else [])}
    assert own <= set(variables['params']) and ('out' in variables['params']) == name.endswith('baseline')


def test_the_refinement_network_has_its_parameters():
    x = jax.ShapeDtypeStruct((1, 2, 64, 64, 1), jnp.float32)
    without, with_one = (count(FramePredictor(buffer_len=2, refinement=r), x).parameters for r in (False, True))
    assert with_one - without == 38_145


def test_he_uniform_of_gain_1_and_zero_biases():
    params = quick(FramePredictor(output_frames=1).init)(jax.random.key(0), frames(1))['params']
    for name, fan_in in (('enc_0', 9), ('mid', 9 * 64), ('hid_1', 9 * 128), ('filt', 128)):
        limit, kernel = np.sqrt(3 / fan_in), np.abs(params[name]['kernel'])
        assert 0.9 * limit < kernel.max() <= limit, name
        assert not params[name]['bias'].any()


@pytest.mark.parametrize('name', ['dfn_moving_mnist', 'dfn_highway', 'dfn_stereo', 'dfn_moving_mnist_baseline'])
def test_predictions_are_fed_back(name, given=4):
    """The sequence is step after step by hand: every frame that is given, then the predictions."""
    model = small[name](output_frames=3, refinement=name == 'dfn_highway')
    variables, x = initial(model), frames(given)
    seen, state, outputs, filters = [x[:, i] for i in range(given)], None, [], []
    step = quick(functools.partial(model.apply, method='step'))
    for i in range(given - model.buffer_len + 3):
        frame, state, taps = step(variables, jnp.concatenate(seen[i : i + model.buffer_len], -1), state)
        if len(seen) == i + model.buffer_len:
            seen.append(frame)
            outputs.append(frame)
            filters.append(taps)
    found, taps = quick(functools.partial(model.apply, with_filters=True))(variables, x)
    assert_close(found, np.stack(outputs, 1), bound=1e-5)
    assert_close(quick(model.apply)(variables, x), found)
    if model.filtering:
        assert_close(taps, np.stack(filters, 1), bound=1e-5)
        assert taps.dtype == jnp.float32
        np.testing.assert_allclose(taps.sum(-1), 1.0, rtol=1e-5)
    else:
        assert taps is None


def test_gradients_flow_through_all_predictions():
    """Of the third prediction, by the first frame and by weights, against finite differences; steps are recomputed."""
    model = small['dfn_highway'](output_frames=3, filter_size=3, remat=True)
    with x64():
        variables, x = in_float64(initial(model)), frames(3, dtype=np.float64)
        r = np.random.default_rng(2)
        cotangent = r.standard_normal((2, *SIZE, 1))

        def loss(params, first):
            given = jnp.concatenate([first[:, None], x[:, 1:]], axis=1)
            return (model.apply({'params': params}, given)[:, -1] * cotangent).sum()

        arguments = variables['params'], jnp.asarray(x[:, 0])
        gradients, value = quick(jax.grad(loss, argnums=(0, 1)))(*arguments), quick(loss)
        # Along random directions, so that every array takes part.
        direction = jax.tree.map(lambda a: jnp.asarray(r.standard_normal(a.shape)), arguments)
        size = 1e-6

        def moved(sign, parts):
            taken = [d if i in parts else jax.tree.map(jnp.zeros_like, d) for i, d in enumerate(direction)]
            return jax.tree.map(lambda a, d: a + sign * size * d, arguments, tuple(taken))

        for part in (0, 1):
            slope = (value(*moved(1, [part])) - value(*moved(-1, [part]))) / (2 * size)
            products = jax.tree.map(lambda g, d: (g * d).sum(), gradients[part], direction[part])
            expected = sum(jax.tree.leaves(products))
            assert abs(slope) > 1e-3
            assert float(slope) == pytest.approx(float(expected), rel=1e-5)


def test_the_second_convolution_pads_both_sides():
    """A single bright pixel in the corner reaches the first pixel of the halved map through the centre tap alone."""
    model = small['dfn_moving_mnist']()
    variables = jax.tree.map(np.zeros_like, initial(model))
    params = variables['params']
    params['enc_0']['kernel'][1, 1, 0, 0] = 1.0
    params['enc_1']['kernel'][..., 0, 0] = np.arange(1.0, 10.0).reshape(3, 3)
    params['enc_2']['kernel'][1, 1, 0, 0] = params['enc_3']['kernel'][1, 1, 0, 0] = 1.0
    params['mid']['kernel'][1, 1, 0, 0] = 1.0
    x = np.zeros((1, *SIZE, 1), np.float32)
    x[0, 0, 0] = 1.0
    state = quick(functools.partial(model.apply, method='encode'))(variables, x)
    assert state[0, 0, 0, 0] == 5.0 and state.sum() == 5.0


def test_the_first_state_is_zero_and_the_biases_of_its_convolutions_count():
    model = small['dfn_moving_mnist']()
    variables, x = initial(model), frames(1)[:, 0]
    zeros = np.zeros((2, SIZE[0] // 2, SIZE[1] // 2, round(128 * WIDTH)), np.float32)
    first = model.apply(variables, x, method='encode')
    assert_close(first, model.apply(variables, x, zeros, method='encode'))
    without = model.clone(recurrent=False).apply(variables, x, method='encode')
    assert np.abs(first - without).max() > 1e-2


def test_only_the_last_frame_is_filtered():
    """With the taps of a shift to the centre (one hot logits) the prediction is the last frame, plus the bias."""
    model = small['dfn_highway'](output_frames=1)
    variables = jax.tree.map(np.zeros_like, initial(model))
    bias = variables['params']['filt']['bias']
    bias[60], bias[121] = 1e3, 0.25
    x = frames(2)
    np.testing.assert_allclose(quick(model.apply)(variables, x)[:, 0], x[:, 1] + 0.25, rtol=1e-6)


def test_frames_of_several_channels():
    model = small['dfn_highway'](channels=3, output_frames=2)
    variables, x = initial(model, channels=3), frames(3, channels=3)
    assert variables['params']['enc_0']['kernel'].shape[2] == 6
    apply = quick(model.apply)
    assert apply(variables, x).shape == (2, 2, *SIZE, 3)
    # All channels are filtered alike: a network that sees no difference between them keeps them equal.
    grey = apply(variables, np.repeat(x[..., :1], 3, -1))
    assert_close(grey[..., 0], grey[..., 2])


def test_bfloat16():
    model = small['dfn_highway'](output_frames=2)
    variables, x = initial(model), frames(3)
    y = quick(model.clone(dtype=jnp.bfloat16).apply)(variables, x)
    assert y.dtype == jnp.bfloat16
    assert_close(y, quick(model.apply)(variables, x), 'bfloat16')
    halves = model.clone(param_dtype=jnp.bfloat16)
    leaves = jax.tree.leaves(jax.eval_shape(halves.init, jax.random.key(0), x))
    assert all(leaf.dtype == jnp.bfloat16 for leaf in leaves)


def traced(model, given=3, **call):
    """All equations of the network's program."""
    apply = functools.partial(model.apply, **call)
    return list(equations(jax.make_jaxpr(apply)(initial(model), frames(given)).jaxpr))


@pytest.mark.parametrize(
    ('unroll', 'expected'), [(1, [(2, 1), (4, 1)]), (2, [(2, 2), (4, 2)]), (True, [(2, 2), (4, 4)])]
)
def test_steps_compiled_as_one_piece(unroll, expected):
    model = small['dfn_moving_mnist'](output_frames=4, unroll=unroll)
    scans = [e.params for e in traced(model) if e.primitive.name == 'scan']
    assert [(scan['length'], scan['unroll']) for scan in scans] == expected
    if unroll != 1:
        variables, x = initial(model), frames(3)
        assert_close(quick(model.apply)(variables, x), quick(model.clone(unroll=1).apply)(variables, x))


def test_recomputed_steps():
    """With `remat` each of the two loops' bodies is one checkpoint; the gradients are the same ones."""
    model = small['dfn_moving_mnist'](output_frames=2, remat=True)
    counts = [
        sum(e.primitive.name in ('checkpoint', 'remat', 'remat2') for e in traced(m))
        for m in (model, model.clone(remat=False))
    ]
    assert counts == [2, 0]
    variables, x = initial(model), frames(3)
    one, other = (
        quick(jax.grad(lambda v, m=m: jnp.square(m.apply(v, x)).sum()))(variables)
        for m in (model, model.clone(remat=False))
    )
    jax.tree.map(assert_close, one, other)


def test_the_precision_reaches_every_layer():
    model = small['dfn_highway'](output_frames=1, precision='highest', refinement=True)
    products = [e for e in traced(model) if e.primitive.name in ('dot_general', 'conv_general_dilated')]
    assert products
    for equation in products:
        assert set(equation.params['precision']) == {jax.lax.Precision.HIGHEST}, equation
    # With one filter for all channels there is no product of matrices to have a precision: the field itself.
    assert model.bind(initial(model)).apply_filters.precision == 'highest'


def test_bytes_are_frames_too():
    model = small['dfn_moving_mnist'](output_frames=1)
    x = np.ones((2, 2, *SIZE, 1), np.uint8)
    apply = functools.partial(quick(model.apply), initial(model))
    assert_close(apply(x), apply(x.astype(np.float32)))


def test_vmap_and_export_for_any_batch():
    model = small['dfn_moving_mnist'](output_frames=2)
    variables, x = initial(model), frames(3, batch=4)
    y = quick(model.apply)(variables, x)
    pairs = quick(jax.vmap(model.apply, in_axes=(None, 0)))(variables, x.reshape(2, 2, *x.shape[1:]))
    assert_close(pairs.reshape(y.shape), y)
    (b,) = export.symbolic_shape('b')

    exported = export.export(quick(model.apply))(variables, jax.ShapeDtypeStruct((b, *x.shape[1:]), x.dtype))
    assert_close(quick(exported.call)(variables, x), y)


def test_width_and_filter_size():
    model = FRAME_PREDICTORS['dfn_stereo'](width=0.5, filter_size=(3, 5))
    params = jax.eval_shape(model.init, jax.random.key(0), frames(1))['params']
    assert params['enc_0']['kernel'].shape == (3, 3, 1, 16)
    assert params['mid']['bias'].shape == (SIZE[0] // 2, SIZE[1] // 2, 64)
    assert params['filt']['kernel'].shape == (1, 1, 64, 16)


def test_without_recurrence_earlier_frames_do_not_matter():
    model = small['dfn_stereo']()
    variables, x = initial(model), frames(3)
    apply = quick(model.apply)
    assert_close(apply(variables, x), apply(variables, x[:, 2:]))


ERRORS = [
    ({}, (2, *SIZE, 1), r'frames: expected 5 dimensions \(B, T, H, W, C\), got shape \(2, 8, 6, 1\)'),
    ({}, (2, 1, *SIZE, 3), r'frames: expected 1 channels .* got shape \(2, 1, 8, 6, 3\)'),
    ({}, (2, 1, 7, 6, 1), r'frames: expected an even height and width, got \(7, 6\)'),
    ({'buffer_len': 2}, (2, 1, *SIZE, 1), r'frames: expected at least buffer_len = 2 frames, got 1'),
    ({'image_size': (64, 64)}, (2, 1, *SIZE, 1), r'expected the size image_size = \(64, 64\), got \(8, 6\)'),
    ({'output_frames': 0}, (2, 1, *SIZE, 1), r'output_frames: expected an int >= 1, got 0'),
    ({'buffer_len': 1.5}, (2, 1, *SIZE, 1), r'buffer_len: expected an int >= 1, got 1.5'),
    ({'filter_size': (9, 8)}, (2, 1, *SIZE, 1), r'filter_size: expected an odd int >= 1 or two of them, got \(9, 8\)'),
    ({'width': float('nan')}, (2, 1, *SIZE, 1), r'width: expected a number > 0, got nan'),
    ({'untied': ('enc_9',)}, (2, 1, *SIZE, 1), r"untied: expected names among .*'mid'.*, got \('enc_9',\)"),
    *(
        ({name: value}, (2, 1, *SIZE, 1), rf'{name}: expected {expected}, got {re.escape(repr(value))}')
        for name, expected, values in (
            ('encoder', 'a sequence of ints >= 1, at least 2 of them', ((), (8,), (8, 0), (8, 1.5), 8, 'ab')),
            ('decoder', 'a sequence of ints >= 1', ((8, 0), 8, None)),
            ('upsampled', 'a sequence of ints >= 1, at least 1 of them', ((), (0,), 8)),
            ('state', 'an int >= 1', (0, -1, 8.0, True, (8,))),
            ('head', 'an int >= 1', (-1, 'a', None)),
            ('channels', 'an int >= 1', (0, '1')),
            ('image_size', r'two even ints >= 2 \(H, W\) or None', (64, (64,), (64, 0), (63, 64), '64')),
            ('unroll', 'an int >= 1 or a bool', (0, -1, 'x', 1.0, None)),
            ('untied', r"names among \(.*'mid'\)", (3, 'mid', ('mid', 1))),
        )
        for value in values
    ),
]


@pytest.mark.parametrize(('fields', 'shape', 'message'), ERRORS)
def test_errors(fields, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(FramePredictor(**fields).init, jax.random.key(0), jnp.ones(shape))


STATES = [
    ((1, 4, 3, 8), r'state: expected shape \(B, H/2, W/2, S\) = \(2, 4, 3, 8\), got \(1, 4, 3, 8\)'),
    ((2, 1, 1, 8), r'state: expected shape .* = \(2, 4, 3, 8\), got \(2, 1, 1, 8\)'),
    ((2, 8, 6, 8), r'state: expected shape .* got \(2, 8, 6, 8\)'),
    ((2, 4, 3, 1), r'state: expected shape .* got \(2, 4, 3, 1\)'),
    ((4, 3, 8), r'state: expected shape .* got \(4, 3, 8\)'),
]


@pytest.mark.parametrize('method', ['step', 'encode'])
@pytest.mark.parametrize(('shape', 'message'), STATES)
def test_a_state_that_is_not_that_of_the_frames(method, shape, message):
    model = small['dfn_moving_mnist']()
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(functools.partial(model.apply, method=method), initial(model), frames(1)[:, 0], jnp.ones(shape))


def test_inputs_of_single_methods():
    model = small['dfn_moving_mnist']()
    variables, x = initial(model), frames(1)[:, 0]

    def run(method, *inputs, model=model, variables=variables):
        return jax.eval_shape(functools.partial(model.apply, method=method), variables, *inputs)

    for method in ('step', 'encode'):
        with pytest.raises(ValueError, match=r'frames: expected 1 channels .* got shape \(2, 8, 6, 3\)'):
            run(method, frames(1, channels=3)[:, 0])
        with pytest.raises(ValueError, match=r'frames: expected 4 dimensions .* got shape \(2, 1, 8, 6, 1\)'):
            run(method, frames(1))
        stereo = small['dfn_stereo']()
        with pytest.raises(ValueError, match=r'state: expected None where recurrent=False, got shape \(2, 4, 3, 8\)'):
            run(method, x, jnp.ones((2, 4, 3, 8)), model=stereo, variables=initial(stereo))
    with pytest.raises(ValueError, match=r'state: expected 8 channels .* got shape \(2, 4, 3, 4\)'):
        run('decode', jnp.ones((2, 4, 3, 4)))
    with pytest.raises(ValueError, match=r'state: expected 4 dimensions .* got shape \(4, 3, 8\)'):
        run('decode', jnp.ones((4, 3, 8)))
    # A decoder may be all behind the doubling.
    short = small['dfn_moving_mnist'](decoder=(), output_frames=1)
    assert jax.eval_shape(short.apply, initial(short), frames(1)).shape == (2, 1, *SIZE, 1)


def test_untied_biases_fit_one_size():
    conv, x = UntiedConv(4, (3, 3)), jnp.ones((2, 6, 5, 3))
    variables = conv.init(jax.random.key(0), x)
    np.testing.assert_array_equal(
        conv.apply(jax.tree.map(lambda a: a.at[1].add(1) if a.ndim == 3 else a, variables), x)[:, 1],
        conv.apply(variables, x)[:, 1] + 1,
    )
    with pytest.raises(ValueError, match=r'size of the untied biases, \(6, 5\), got \(6, 6\)'):
        conv.apply(variables, jnp.ones((2, 6, 6, 3)))
    model = small['dfn_highway']()
    with pytest.raises(ValueError, match=r'size of the untied biases, \(8, 6\), got \(8, 8\)'):
        jax.eval_shape(model.apply, initial(model), frames(2, size=(8, 8)))


def test_unknown_fields():
    with pytest.raises(TypeError, match="no field 'filter_sise'; did you mean 'filter_size'"):
        FRAME_PREDICTORS['dfn_highway'](filter_sise=3)
