"""Train a dynamic network on images of your own: arrays in, a task out, and the library's loop.

Here the images are scikit-learn's digits again, with another question: is the digit even? Images in files need no
code: `flax-dynconv train --data FOLDER` (docs/data.md).
Run: python examples/train_own_images.py [--epochs 10]
"""

import argparse

from flax_dynconv import create_model
from flax_dynconv.training import loop
from flax_dynconv.training.classification import Classification
from flax_dynconv.training.digits import digits, shift
from flax_dynconv.training.monitoring.observer import Watcher
from flax_dynconv.training.settings import Settings


def parity():
    """Images (N, H, W, C) float32 and labels (N,) int32 for the splits 'train' and 'test'."""
    source = digits()
    labels = {split: label % 2 for split, label in source.labels.items()}
    return Classification('parity', source.images, labels, num_outputs=2, augment=shift)


class Report(Watcher):
    """A line for every epoch."""

    def epoch_ended(self, record):
        print(record['epoch'], record['test'])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--width', type=float, default=0.5)
    args = parser.parse_args(arguments)

    task = parity()
    settings = Settings(epochs=args.epochs)
    model = create_model('dyconv_resnet8_4x', num_classes=task.num_outputs, width=args.width)
    state, history, _ = loop.fit(model, task, settings, observer=Report())
    print('parameters trained for', int(state.step), 'steps; test accuracy', history[-1]['test']['accuracy'])


if __name__ == '__main__':
    main()
