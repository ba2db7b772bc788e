"""The task of steerable filtering: loss, figures, and how close the generated filters are to the true ones."""

import jax.numpy as jnp

from flax_dynconv.models import steering_kernel
from flax_dynconv.training import masked
from flax_dynconv.training.data.examples import ExampleTask
from flax_dynconv.training.explained import check_explicable, share_explained


class SteerableFiltering(ExampleTask):
    """A `Task`: from an image (B, H, W, 1) and an angle (B,) to the image filtered at that angle, by squared error.

    The network's outputs are the filtered images and the filters (B, 9, 9) that it generated. Figures: `mse`, the mean
    over examples and pixels, which is minimised (`loss`); `explained`, 1 - mse / variance of the targets (0 in a
    training pass of which that is 0); and
    `filter_correlation`, Pearson's correlation of a filter's taps with those of K_theta, averaged over the examples.

    Raises ValueError for test images whose targets are one value: black ones.
    """

    num_outputs, score = 1, 'explained'

    def __init__(self, examples):
        super().__init__(examples)
        made = (examples.test(index)['target'] for index in range(examples.size('test')))
        check_explicable((pixel for target in made for pixel in target.ravel()), examples.name, 'filtered test images')

    def inputs(self, batch):
        """The images and their angles."""
        return batch['image'], batch['theta']

    def loss(self, outputs, batch):
        """Mean squared error, in float32 or wider."""
        return masked.mean(_squared_error(outputs[0], batch), batch['mask'])

    def metrics(self, outputs, batch):
        """Sums over the examples: squared error, target and its square (means over pixels), correlation, examples."""
        image, filters = outputs
        each = {
            'squared_error': _squared_error(image, batch),
            'target': masked.per_example(batch['target']),
            'target_square': masked.per_example(jnp.square(batch['target'])),
            'correlation': correlation(filters, steering_kernel(batch['theta'])),
            'count': jnp.ones_like(batch['mask']),
        }
        return {name: masked.total(values, batch['mask']) for name, values in each.items()}

    def summary(self, totals):
        """Loss, mse, explained and filter_correlation."""
        means = {name: float(total) / float(totals['count']) for name, total in totals.items()}
        mse, variance = means['squared_error'], means['target_square'] - means['target'] ** 2
        return {
            'loss': mse,
            'mse': mse,
            'explained': share_explained(mse, variance, means['target_square']),
            'filter_correlation': means['correlation'],
        }

    def picture(self, path, trained, batch_size):
        """Filters beside the true ones, images, and learning curves."""
        from flax_dynconv.training.steering import pictures

        pictures.draw(path, self, trained)


def correlation(filters, others):
    """Pearson's correlation of the taps of filters (B, h, w), pair by pair: (B,), in float32 or wider.

    >>> round(float(correlation(jnp.array([[[1.0, 2.0]]]), jnp.array([[[10.0, 30.0]]]))[0]), 6)
    1.0
    """
    a, b = (_centred(taps) for taps in (filters, others))
    norms = jnp.sqrt(jnp.sum(a * a, axis=1) * jnp.sum(b * b, axis=1))
    return jnp.sum(a * b, axis=1) / norms


def _centred(taps):
    taps = taps.astype(jnp.promote_types(taps.dtype, jnp.float32)).reshape(len(taps), -1)
    return taps - jnp.mean(taps, axis=1, keepdims=True)


def _squared_error(image, batch):
    wide = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    return masked.per_example(jnp.square(wide - batch['target']))
