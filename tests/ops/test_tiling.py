"""Forms that work in tiles, with tiles so small that there are several: kernel blocks, chunks of rows."""

import jax
import pytest

from flax_dynconv.ops.mixture_conv import _kernel_blocks, _sample_chunks, loop
from flax_dynconv.ops.mixture_conv._kernel_blocks import KernelBlocks
from flax_dynconv.ops.per_sample_conv import _rows
from tests.ops.cases import ALL_SCALES
from tests.ops.cases import case as make
from tests.ops.operators import OPERATORS, fast_jit, output_and_gradients
from tests.tolerances import assert_close

MIXTURE = [
    make('unit_strides', (6, 4), (3, 2), cin=8, cout=3, num_kernels=3, scales=ALL_SCALES, padding=((1, 2), (0, 1))),
    make('strides', (6, 5), (3, 3), cin=8, cout=3, num_kernels=3, strides=(2, 1), kernel_dilation=(1, 2), padding=2),
    make('dilated_input', (4, 3), (2, 3), cin=8, cout=3, scales=('tap_scale',), input_dilation=(2, 1), padding=1),
    make('crop', (7, 6), (3, 3), cin=8, cout=3, padding=((-1, 0), (2, -1))),
    make('one_kernel', (6, 4), (3, 3), cin=8, cout=3, num_kernels=1, scales=('tap_scale',)),
    make('one_kernel_strides', (6, 4), (3, 3), cin=8, cout=3, num_kernels=1, scales=('tap_scale',), strides=2),
    make('3d', (4, 3, 2), (2, 2, 1), cin=8, cout=3, scales=('tap_scale',)),
]
PER_SAMPLE = [
    make('rows', (6, 4), (3, 2), cin=3, cout=5),
    make('rows_dilated', (9, 4), (3, 3), cin=3, cout=5, kernel_dilation=(2, 1), padding=((3, 1), (0, 2))),
    make('rows_crop', (6, 5), (3, 3), cin=3, cout=5, padding=((-1, 1), (0, 0))),
    make('rows_1d', (8,), (3,), cin=3, cout=5),
]


def check(name, case, form):
    operator = OPERATORS[name]
    operands = operator.operands(case, 'float32')
    y = operator.forward(**operands, **case.options)
    g = operator.operands(case, 'float32', 1)['x'].ravel()[: y.size].repeat(-(-y.size // operands['x'].size))
    g = jax.numpy.resize(g, y.shape)
    actual, gradients = fast_jit(lambda o, g: output_and_gradients(operator, case, form, o, g))(operands, g)
    assert_close(actual, y)
    wanted = operator.gradients(**operands, g=jax.device_get(g), **case.options)
    assert set(gradients) == set(wanted)
    for key in wanted:
        assert_close(gradients[key], wanted[key])


@pytest.mark.parametrize('form', ['blocks', 'loop', 'columns'])
@pytest.mark.parametrize('case', MIXTURE, ids=lambda c: c.name)
def test_several_blocks_of_the_bank(case, form, monkeypatch):
    monkeypatch.setattr(_kernel_blocks, 'BLOCK_BYTES', 1)
    monkeypatch.setattr(_kernel_blocks, '_FEWEST_CHANNELS', 2)
    monkeypatch.setattr(_rows, '_KERNEL_BYTES', 0)
    blocks = KernelBlocks.of(type('Spec', (), {'in_features': 8, 'out_features': 3}), 2, 'float32')
    assert blocks.parts == 4
    check('mixture_conv', case, form)


@pytest.mark.parametrize('case', PER_SAMPLE, ids=lambda c: c.name)
@pytest.mark.parametrize('name', ['per_sample_conv', 'mixture_conv'])
def test_several_chunks_of_rows(name, case, monkeypatch):
    monkeypatch.setattr(_rows, '_CHUNK_BYTES', 1)
    taken, sizes = [], []
    suits, rows = _rows.suits, _rows._rows
    monkeypatch.setattr(_rows, 'suits', lambda *a: taken.append(suits(*a)) or taken[-1])
    monkeypatch.setattr(_rows, '_rows', lambda *a: sizes.append(rows(*a)) or sizes[-1])
    check(name, case, 'loop')
    assert taken and all(taken) and set(sizes) == {1}


def test_blocks_are_as_large_as_allowed_and_divide_the_channels():
    spec = type('Spec', (), {'in_features': 512, 'out_features': 512})
    assert KernelBlocks.of(spec, 8, 'float32').parts == 1
    assert KernelBlocks.of(spec, 32, 'float32').parts == 4
    assert KernelBlocks.of(spec, 4096, 'bfloat16').parts == 8


@pytest.mark.parametrize('kernel_bytes', [0, 2**20], ids=['blocks', 'rows'])
@pytest.mark.parametrize('batch', [8, 7])
def test_several_chunks_of_samples(batch, kernel_bytes, monkeypatch):
    # Seven samples do not divide into chunks: they stay one.
    monkeypatch.setattr(_sample_chunks, 'SAMPLES', 4)
    monkeypatch.setattr(_rows, '_KERNEL_BYTES', kernel_bytes)
    sizes, whole = [], loop._backward
    monkeypatch.setattr(loop, '_backward', lambda spec, x, *rest: sizes.append(len(x)) or whole(spec, x, *rest))
    case = make('chunks', (4, 3), (3, 2), cin=4, cout=3, batch=batch, num_kernels=3, scales=('tap_scale',))
    check('mixture_conv', case, 'loop')
    assert set(sizes) == ({4} if batch == 8 else {7})


def test_chunks_of_samples_under_vmap(monkeypatch):
    case = make('chunks', (4, 3), (3, 2), cin=4, cout=3, batch=4, num_kernels=3, scales=('tap_scale',))
    operator = OPERATORS['mixture_conv']
    two = [operator.operands(case, 'float32', seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *a: jax.numpy.stack(a), *two)

    def gradient(operands):
        return jax.grad(lambda o: (operator.call(case, 'blocks', o) ** 2).sum())(operands)

    wanted = [gradient(operands) for operands in two]
    monkeypatch.setattr(_sample_chunks, 'SAMPLES', 2)
    actual = jax.vmap(gradient)(stacked)
    for i, one in enumerate(wanted):
        jax.tree.map(lambda a, w, i=i: assert_close(a[i], w), actual, one)
