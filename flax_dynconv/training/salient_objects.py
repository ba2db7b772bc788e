"""Salient objects: what stands out in an image with depth, pixel by pixel, by a network of `SALIENCY_NETWORKS`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flax_dynconv.training import masked
from flax_dynconv.training.annotated_images import AnnotatedImages
from flax_dynconv.training.augmentation.scenes import SceneEvaluation, SceneTraining
from flax_dynconv.training.data.scene_readers import SceneEvaluationReader, SceneTrainingReader
from flax_dynconv.training.losses import wide
from flax_dynconv.training.saliency.loss import saliency_loss
from flax_dynconv.training.saliency.predictions import judged
from flax_dynconv.training.saliency.scores import SaliencyScores


class Judged(NamedTuple):
    """Logits (N, H, W, 1) of an evaluation, of which more than the loss is measured."""

    logits: Any


class SalientObjects(AnnotatedImages):
    """A `Task` of the images with depth of `source` (`data.scenes`, `data.scene_folder`), as `settings` say.

    A batch holds image (N, S, S, 3) uint8, depth (N, S, S, 1) float32 from 0 to 1, target (N, S, S, 1) uint8, 1 in
    salient objects, and mask (N,) float32; in an evaluation also truth (N, H, W) uint8, the targets at their own sizes,
    each in a corner of the largest, and size (N, 2) int32. An example is a function of the seed, the epoch and its
    position in the pass. `facts` has S, mean and standard deviation: `inputs` are (image / 255 - mean) / std in float32
    and the depth as it is.

    The network gives logits (N, S, S, 1). What is minimised is the mean of `saliency_loss`. An evaluation judges each
    image as published: the prediction in 8 bits, scaled to the size of the truth by the nearest pixel, and stretched
    to 0 and 1; see `SaliencyScores`. Training measures the loss alone.

    Raises ValueError for a batch larger than the training split.
    """

    score, num_outputs = 'mean_f', 1

    def __init__(self, source, settings, facts):
        super().__init__(source, settings, facts)
        self.chosen = settings.saliency
        self.name, augmentation = source.name, settings.augmentation
        self.train_transform = SceneTraining(
            facts.size, augmentation.flip, self.chosen.rotation, augmentation.color_jitter
        )
        self.evaluation_transform = SceneEvaluation(facts.size)
        self.canvas = tuple(max(lengths) for lengths in zip(*source.dimensions('test'), strict=True))

    def example(self):
        """One black image of training, at depth 0, without an object."""
        square = 1, self.facts.size, self.facts.size
        return {
            'image': np.zeros((*square, 3), np.uint8),
            'depth': np.zeros((*square, 1), np.float32),
            'target': np.zeros((*square, 1), np.uint8),
            'mask': np.ones(1, np.float32),
        }

    def _training_reader(self, part, order, seed, epoch):
        return SceneTrainingReader(part, self.source, order, seed, epoch, self.train_transform)

    def _evaluation_reader(self, part, split):
        example = self.example()
        return SceneEvaluationReader(part, self.source, split, self.evaluation_transform, example, self.canvas)

    def inputs(self, batch):
        """The images, normalised, float32 (N, S, S, 3), and their depth (N, S, S, 1)."""
        return *super().inputs(batch), batch['depth']

    def predict(self, model, variables, batch):
        """The logits of an evaluation as `Judged`."""
        return Judged(model.apply(variables, *self.inputs(batch), train=False))

    def loss(self, outputs, batch):
        """Mean over the images of cross-entropy and enhanced loss, in float32 or wider."""
        return masked.mean(self._losses(outputs, batch), batch['mask'])

    def metrics(self, outputs, batch):
        """Sums over the images, of the loss and of 1; in an evaluation all that `measured` needs, too."""
        logits = outputs.logits if isinstance(outputs, Judged) else outputs
        sums = {
            'loss': masked.total(self._losses(logits, batch), batch['mask']),
            'count': masked.total(jnp.ones_like(batch['mask']), batch['mask']),
        }
        if not isinstance(outputs, Judged):
            return sums
        probabilities = jax.nn.sigmoid(wide(logits))[..., 0]
        return sums | {'probabilities': probabilities, **{name: batch[name] for name in ('truth', 'size', 'mask')}}

    def measured(self, values):
        """Sum of the loss, and what `SaliencyScores` adds up of the images of a batch."""
        scores = SaliencyScores()
        for row in np.flatnonzero(values['mask']):
            height, width = (int(length) for length in values['size'][row])
            truth = values['truth'][row, :height, :width]
            scores.add(judged(values['probabilities'][row], (height, width)), truth)
        return scores.totals | {'loss': np.float64(values['loss'])}

    def summary(self, totals):
        """The loss; of an evaluation also `SaliencyScores.summary`, of which mean_f is the score."""
        loss = {'loss': float(totals['loss']) / float(totals['count'])}
        return loss | SaliencyScores(totals).summary() if 'precision' in totals else loss

    def picture(self, path, trained, batch_size):
        """Learning curves; test images with depth, prediction and truth; and the kernels at a few positions."""
        from flax_dynconv.training import saliency_picture

        saliency_picture.draw(path, self, trained, batch_size)

    def _losses(self, logits, batch):
        return saliency_loss(logits, batch['target'], self.chosen.enhanced_weight, from_logits=True)
