"""Instance segmentation: the objects of an image with boxes, classes and masks, by a network of `INSTANCE_NETWORKS`."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from flax_dynconv.models import Detections, InstanceMaps, detect, instance_masks
from flax_dynconv.training.annotated_images import AnnotatedImages
from flax_dynconv.training.augmentation.instance_composition import instance_transforms
from flax_dynconv.training.data.instance_arrays import blank_arrays
from flax_dynconv.training.data.instance_readers import InstanceEvaluationReader, InstanceTrainingReader
from flax_dynconv.training.data.instance_results import original_boxes, original_masks, results_of_image
from flax_dynconv.training.instances.average_precision import average_precision
from flax_dynconv.training.instances.losses import instance_losses

# Instances whose masks are computed at a time in an evaluation.
CHUNK = 25


class Predicted(NamedTuple):
    """What an evaluation makes of a batch: maps, detections, and logits of their masks (B, D, H/4, W/4)."""

    maps: InstanceMaps
    detections: Detections
    masks: Any


class InstanceSegmentation(AnnotatedImages):
    """A `Task` of the objects in the images of `source` (`data.instance_shapes`, `data.coco`), as `settings` say.

    A batch holds what `data.instance_arrays.blank_arrays` lists, images on canvases of one size and M slots for the
    objects of each, with index and mask (N,), and step (N,), the number of the step: in tests that after BoxInst's
    warm-up, so that its losses there have one weight in all epochs. An example is a function of the seed, the epoch and
    its position in the pass. `inputs` are (x / 255 - mean) / std in float32. `network` is a module like the one that is
    trained: it says where maps lie and how mask networks are laid out.

    What is minimised is the sum of `instances.losses.instance_losses`. An evaluation detects objects and measures the
    average precision of boxes and masks at the size of the original images, as COCO does.

    Raises ValueError for a batch larger than the training split.
    """

    score = 'mask_ap'

    def __init__(self, source, settings, facts, network):
        super().__init__(source, settings, facts)
        self.chosen = settings.instances
        self.name, self.classes, self.num_outputs = settings.images.data, source.classes, len(source.classes)
        self.category_ids, self.canvas = source.category_ids, facts.canvas
        self._levels = {'strides': network.strides, 'sizes_of_interest': network.sizes_of_interest}
        self._heads = {
            'channels': network.layer_channels,
            'relative_coordinates': network.relative_coordinates,
            'precision': network.precision,
        }
        self._truth = None  # made when it is first asked for
        self.training_transform, self.evaluation_transform = instance_transforms(settings, facts)

    def example(self):
        """One black canvas without objects."""
        arrays = blank_arrays(self.canvas, self.chosen.max_instances)
        arrays |= {'index': np.int32(0), 'mask': np.float32(1), 'step': np.int32(0)}
        return {name: np.asarray(array)[None] for name, array in arrays.items()}

    def batches(self, split, batch_size, seed=0, epoch=0, start=0, rows=None):
        """One pass over `split`; see `Task`. `start` costs nothing."""
        read = super().batches(split, batch_size, seed, epoch, start, rows)
        first = epoch * self.steps_per_epoch(batch_size) + start if split == 'train' else 0
        for number, batch in enumerate(read, first):
            number = number if split == 'train' else self.chosen.pairwise_warmup
            yield batch | {'step': np.full(len(batch['mask']), number, np.int32)}

    def _training_reader(self, part, order, seed, epoch):
        return InstanceTrainingReader(part, self.source, order, seed, epoch, self.training_transform)

    def _evaluation_reader(self, part, split):
        return InstanceEvaluationReader(part, self.source, split, self.evaluation_transform)

    def predict(self, model, variables, batch):
        """`Predicted`: what the network finds in the images, with masks at a quarter of the canvas."""
        maps = model.apply(variables, *self.inputs(batch), train=False)
        chosen = self.chosen
        found = detect(
            maps,
            batch['size'],
            score_threshold=chosen.score_threshold,
            nms_threshold=chosen.nms_threshold,
            max_detections=chosen.detections,
            **self._levels,
        )
        masks = instance_masks(
            maps.mask_features,
            found.parameters,
            found.locations,
            found.scales,
            stride=self._levels['strides'][0],
            chunk=CHUNK,
            **self._heads,
        )
        return Predicted(maps, found, masks)

    def loss(self, outputs, batch):
        """The sum of all losses, in float32 or wider."""
        return self.loss_and_metrics(outputs, batch)[0]

    def loss_and_metrics(self, outputs, batch):
        """`loss` and `metrics` of the network's maps."""
        losses, count = self._losses(outputs, batch), jnp.sum(batch['mask'])
        loss = sum(losses.values())
        sums = {'loss': loss * count, 'count': count}
        return loss, sums | {f'{name}_loss': each * count for name, each in losses.items()}

    def metrics(self, outputs, batch):
        """Each of the losses, times the number of images, and that number; of `Predicted` the detections too."""
        if not isinstance(outputs, Predicted):
            return self.loss_and_metrics(outputs, batch)[1]
        _, sums = self.loss_and_metrics(outputs.maps, batch)
        boxes, scores, classes, valid, *_ = outputs.detections
        found = {'boxes': boxes, 'scores': scores, 'classes': classes, 'valid': valid, 'masks': outputs.masks}
        return sums | {'found': found, 'size': batch['size'], 'index': batch['index'], 'real': batch['mask']}

    def measured(self, values):
        """The sums of an evaluation's batch, its detections as COCO's results, and the ids of its images."""
        values = dict(values)
        found, size, index, real = (values.pop(name) for name in ('found', 'size', 'index', 'real'))
        results, images = [], []
        for row in np.flatnonzero(real):
            each = {name: array[row] for name, array in found.items()}
            results += self.results(each, size[row], int(index[row]))
            images.append(self.source.image_id('test', int(index[row])))
        sums = {name: np.asarray(value, np.float64) for name, value in values.items()}
        return sums | {'results': results, 'images': images}

    def results(self, found, size, index):
        """What was `found` in test image `index`, which lies on its canvas with `size`, as COCO's results."""
        return results_of_image(
            **found,
            size=tuple(size.tolist()),
            original=self.source.image_size('test', index),
            image_id=self.source.image_id('test', index),
            category_ids=self.category_ids,
        )

    def summary(self, totals):
        """Means of the losses over batches, weighted by their images; of an evaluation COCO's average precisions too.

        box_ap and mask_ap are means over overlaps from 0.5 to 0.95; box_ap50, mask_ap75, .. at one overlap, and
        mask_ap_small, .. of objects of one size. What no object in the data has, is left out.
        """
        count = max(1.0, float(totals['count']))
        losses = {name: float(total) / count for name, total in totals.items() if name.endswith('loss')}
        if 'results' not in totals:
            return losses
        return losses | self._precisions(totals['results'], totals['images'])

    def picture(self, path, trained, batch_size):
        """Learning curves of all runs; test images with their objects, and those that each network finds."""
        from flax_dynconv.training import instance_picture

        instance_picture.draw(path, self, trained, batch_size)

    def found(self, detections, masks, row, size, least_score):
        """The objects of image `row` of a batch, of that score at least, as `instance_picture` draws them."""
        chosen = np.flatnonzero(detections.valid[row] & (detections.scores[row] >= least_score))
        boxes = original_boxes(detections.boxes[row], size, size)
        each = zip(chosen.tolist(), original_masks(masks[row], size, size, chosen), strict=True)
        return [
            {
                'box': boxes[i],
                'mask': mask,
                'label': int(detections.classes[row, i]),
                'score': float(detections.scores[row, i]),
            }
            for i, mask in each
        ]

    def true_objects(self, index, size):
        """The objects of test image `index`, crowds left out, at `size`, as `instance_picture` draws them."""
        _, instances, _ = self.source.example('test', index, None)
        original = self.source.image_size('test', index)
        return [
            {
                'box': original_boxes(np.asarray([each.box]), original, size)[0],
                'mask': each.outline.at(*size),
                'label': each.label,
                'score': None,
            }
            for each in instances
            if not each.crowd
        ]

    def _losses(self, maps, batch):
        chosen = self.chosen
        losses = instance_losses(
            maps,
            batch,
            max_positives=chosen.max_positives,
            masks=chosen.mask_loss,
            # Of the step that is made, counted from 1.
            pairwise_weight=jnp.minimum(1.0, (jnp.max(batch['step']) + 1) / chosen.pairwise_warmup),
            **self._levels,
            **self._heads,
        )
        if 'semantic' in losses:
            losses['semantic'] *= chosen.semantic_weight
        return losses

    def _precisions(self, results, images):
        if self._truth is None:
            self._truth = self.source.truth('test')
        kinds = (('box', 'bbox'), ('mask', 'segm'))
        figures = {name: average_precision(self._truth, results, kind, images) for name, kind in kinds}
        return {f'{name}_{figure}': value for name, each in figures.items() for figure, value in each.items()}
