"""A run of a tiny network on tiny pictures, and its commands without the other ones."""

import argparse
import functools

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.commands import evaluate, predict
from flax_dynconv.layers import ODConv
from flax_dynconv.models import MODELS, ResNet
from flax_dynconv.training import experiment, run_folder
from flax_dynconv.training.settings import Settings

CLASSES = ('blue', 'green', 'red')
SIZE, TRAIN, TEST = 8, 16, 5  # pixels; images of each class
BROKEN = ('train/blue/x.png', 'train/red/x.png', 'train/red/y.png')
SETTINGS = Settings(epochs=2, seed=1).updated(
    model='odconv_tiny_2x',
    width=0.5,
    batch_size=16,
    image_size=SIZE,
    resize=SIZE,
    learning_rate=0.05,
    warmup_epochs=0.0,
    temperature=1.0,
    ema=0.9,
    reader_threads=1,
)
# The same network, by the options of weights.
BY_WEIGHTS = ['--model', 'odconv_tiny_2x', '--arguments', '{"width": 0.5}', '--image-size', '8', '--resize', '8']


@pytest.fixture(scope='package', autouse=True)
def tiny():
    """A network of one block and its twin among the models: compilation is what takes time here."""
    fields = {'stage_sizes': (1,), 'features': 16, 'stem': 'cifar'}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, 'tiny', functools.partial(ResNet, **fields))
        conv = functools.partial(ODConv, num_kernels=2)
        patch.setitem(MODELS, 'odconv_tiny_2x', functools.partial(ResNet, conv=conv, **fields))
        yield


@pytest.fixture(scope='package')
def pictures(tmp_path_factory):
    """A folder of noisy pictures of three colours, in the layout of `train`."""
    folder, generator = tmp_path_factory.mktemp('pictures'), np.random.default_rng(0)
    for split, count in (('train', TRAIN), ('val', TEST)):
        for label, name in enumerate(CLASSES):
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 120, (SIZE, SIZE, 3))
                pixels[:, :, 2 - label] += 80
                Image.fromarray(pixels.astype(np.uint8)).save(place / f'{i}.png')
    for name in BROKEN:
        (folder / name).write_bytes(b'no image')
    return folder


@pytest.fixture(scope='package')
def run(tiny, pictures, tmp_path_factory):
    """The folder of a run on them, of both networks."""
    folder = tmp_path_factory.mktemp('run')
    experiment.run(SETTINGS.updated(data=str(pictures)), folder)
    return folder


@pytest.fixture(scope='package')
def results(run):
    return run_folder.read_results(run)


@pytest.fixture
def command(capsys):
    """f(name, *arguments) -> (exit code, what was printed); errors are raised, as the command line reports them."""

    def call(name, *arguments):
        parser = argparse.ArgumentParser()
        subparsers = parser.add_subparsers()
        module = {'evaluate': evaluate, 'predict': predict}[name]
        module.add_parser(subparsers)
        capsys.readouterr()
        code = module.run(parser.parse_args([name, *map(str, arguments)]))
        return code, capsys.readouterr().out

    return call
