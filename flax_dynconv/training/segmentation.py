"""Segmentation: the class of every pixel, by a network of `SEGMENTERS`."""

import jax.numpy as jnp
import numpy as np

from flax_dynconv.layers import resize_bilinear
from flax_dynconv.training.annotated_images import AnnotatedImages
from flax_dynconv.training.augmentation.labelled_composition import labelled_transforms
from flax_dynconv.training.confusion import confusion_matrix, intersection_over_union, mean_iou, pixel_accuracy
from flax_dynconv.training.data.label_readers import LabelledEvaluationReader, LabelledTrainingReader
from flax_dynconv.training.losses import wide
from flax_dynconv.training.pixel_losses import counted, mean_pixel_cross_entropy, pixel_cross_entropy
from flax_dynconv.training.sliding_windows import sliding_windows

CHANNELS = 3


class SemanticSegmentation(AnnotatedImages):
    """A `Task` of the labelled images of `source` (`data.shapes`, `data.label_folder`), as `settings` say.

    A batch holds image (N, H, W, 3) uint8, label (N, H, W) int32 and mask (N,) float32. In training H and W are those
    of a crop; test images are filled up to the size of the largest one with ignored pixels of the mean colour, which
    the network sees. An example is a function of the seed, the epoch and its position in the pass. `facts` has mean
    and standard deviation: `inputs` are (x / 255 - mean) / std in float32.

    The network gives logits (N, H, W, C), in training a pair of these and an auxiliary head's; those of another size
    than the labels are resized. What is minimised is `mean_pixel_cross_entropy` of the first + auxiliary_weight * that
    of the second.

    Raises ValueError for a batch larger than the training split, and for settings that do not fit together.
    """

    score = 'miou'

    def __init__(self, source, settings, facts):
        super().__init__(source, settings, facts)
        self.chosen = settings.segmentation
        self.name, self.classes, self.num_outputs = settings.images.data, source.classes, len(source.classes)
        self.crop, self.window, self.window_stride = facts.crop, facts.window, facts.window_stride
        sizes = source.dimensions('test')
        self.train_transform, self.evaluation_transform = labelled_transforms(settings, facts, sizes)
        self.canvas = self.evaluation_transform.canvas

    def example(self):
        """One black crop of class 0."""
        return {
            'image': np.zeros((1, *self.crop, CHANNELS), np.uint8),
            'label': np.zeros((1, *self.crop), np.int32),
            'mask': np.ones(1, np.float32),
        }

    def _training_reader(self, part, order, seed, epoch):
        return LabelledTrainingReader(part, self.source, order, seed, epoch, self.train_transform)

    def _evaluation_reader(self, part, split):
        shape = (*self.canvas, CHANNELS)
        ignored = self.chosen.ignore_label
        return LabelledEvaluationReader(part, self.source, split, self.evaluation_transform, shape, ignored)

    def predict(self, model, variables, batch):
        """Logits (N, H, W, C) of whole images in an evaluation: at once, or window by window as the settings say."""

        def whole(image):
            logits = model.apply(variables, image, train=False)
            return resize_bilinear(logits, image.shape[1:3]) if logits.shape[1:3] != image.shape[1:3] else logits

        (image,) = self.inputs(batch)
        if self.chosen.inference == 'whole':
            return whole(image)
        return sliding_windows(whole, image, self.window, self.window_stride)

    def loss(self, outputs, batch):
        """Mean cross-entropy of the pixels, the auxiliary head's added with its weight; in float32 or wider."""
        logits, auxiliary = _heads(outputs)
        loss = self._mean(logits, batch)
        return loss if auxiliary is None else loss + self.chosen.auxiliary_weight * self._mean(auxiliary, batch)

    def _mean(self, logits, batch):
        logits = _fitted(logits, batch['label'])
        return mean_pixel_cross_entropy(logits, batch, self.chosen.ignore_label, self.chosen.pixel_average)

    def metrics(self, outputs, batch):
        """Over the pixels that are not ignored: the confusion matrix (C, C), the sum of their cross-entropy, and count.

        The auxiliary head counts nowhere.
        """
        logits = _fitted(_heads(outputs)[0], batch['label'])
        valid = counted(batch['label'], batch['mask'], self.chosen.ignore_label)
        return {
            'confusion': confusion_matrix(batch['label'], jnp.argmax(logits, axis=-1), valid, self.num_outputs),
            'loss': jnp.sum(pixel_cross_entropy(logits, batch['label'], valid)),
            'count': jnp.sum(valid, dtype=jnp.int32),
        }

    def summary(self, totals):
        """Mean cross-entropy of the pixels that are not ignored, mIoU, the share of right pixels, IoU of each class.

        A class that is neither in the truth nor predicted has no IoU, and does not count in the mean.
        """
        confusion = np.asarray(totals['confusion'], np.float64)
        each = zip(self.classes, intersection_over_union(confusion), strict=True)
        return {
            'loss': float(totals['loss']) / max(1.0, float(totals['count'])),
            'miou': mean_iou(confusion),
            'pixel_accuracy': pixel_accuracy(confusion),
            **{f'iou_{name}': float(value) for name, value in each if not np.isnan(value)},
        }

    def picture(self, path, trained, batch_size):
        """Learning curves of all runs; test images, their classes, and those that each network gives them."""
        from flax_dynconv.training import segmentation_picture

        segmentation_picture.draw(path, self, trained, batch_size)


def _heads(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs, None)


def _fitted(logits, label):
    """The logits at the size of the labels, in float32 or wider."""
    logits = wide(logits)
    return logits if logits.shape[1:3] == label.shape[1:] else resize_bilinear(logits, label.shape[1:])
