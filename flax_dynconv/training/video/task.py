"""The task of predicting frames: loss, figures, batches of any `Examples` of videos."""

import jax.numpy as jnp

from flax_dynconv.training import masked
from flax_dynconv.training.data.examples import ExampleTask
from flax_dynconv.training.explained import check_explicable, share_explained
from flax_dynconv.training.video import figures


class FramePrediction(ExampleTask):
    """A `Task`: from frames (B, input_frames, H, W, C) in [0, 1] to the output_frames that follow.

    Minimised is `loss`, 'bce' or 'mse', a mean over examples, frames and pixels. Figures: both; `constant_bce` or
    `constant_mse`, of the one image that is best for all frames that are evaluated, and in every pixel; and `saved`,
    what the network's loss is less than that, as a share of it (0 in a training pass without differences).

    Raises ValueError for test frames that are all the same: the best constant image is all of them.
    """

    num_outputs, score = 1, 'saved'

    def __init__(self, examples, input_frames, loss='bce'):
        super().__init__(examples)
        self.input_frames, self.loss_name = input_frames, loss
        made = (examples.test(index)['frames'][input_frames:] for index in range(examples.size('test')))
        check_explicable((frame for video in made for frame in video), examples.name, 'predicted frames of the tests')

    def inputs(self, batch):
        """The frames that are seen."""
        return (batch['frames'][:, : self.input_frames],)

    def truth(self, batch):
        """The frames that follow."""
        return batch['frames'][:, self.input_frames :]

    def loss(self, outputs, batch):
        """Mean cross-entropy or squared error, in float32 or wider."""
        return masked.mean(self._each(outputs, batch)[self.loss_name], batch['mask'])

    def metrics(self, outputs, batch):
        """Sums over the examples: both errors, the mean frame (H, W, C) and mean square of the truth, and examples."""
        truth = self.truth(batch)
        each = self._each(outputs, batch) | {
            'frame': jnp.mean(truth, axis=1),
            'square': masked.per_example(jnp.square(truth)),
            'count': jnp.ones_like(batch['mask']),
        }
        return {name: masked.total(values, batch['mask']) for name, values in each.items()}

    def summary(self, totals):
        """loss, bce, mse, the loss of the best constant image, and saved."""
        means = {name: total / totals['count'] for name, total in totals.items()}
        errors = {name: float(means[name]) for name in ('bce', 'mse')}
        square, loss = float(means['square']), errors[self.loss_name]
        constant = figures.of_best_constant(means['frame'], square)[self.loss_name]
        saved = share_explained(loss, constant, square if self.loss_name == 'mse' else 0.0)
        return {'loss': loss, **errors, f'constant_{self.loss_name}': constant, 'saved': saved}

    def picture(self, path, trained, batch_size):
        """Frames seen, true and predicted, where pixels come from, and learning curves."""
        from flax_dynconv.training.video import pictures

        pictures.draw(path, self, trained)

    def _each(self, outputs, batch):
        truth = self.truth(batch)
        return {
            'bce': masked.per_example(figures.cross_entropy(outputs, truth)),
            'mse': masked.per_example(figures.squared_error(outputs, truth)),
        }
