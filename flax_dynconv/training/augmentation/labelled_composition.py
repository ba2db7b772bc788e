"""What happens to training and test images with labelled pixels, as the settings say."""

from flax_dynconv.training.augmentation.labelled import LabelledEvaluation, LabelledTraining, scaled_size


def labelled_transforms(settings, facts, sizes):
    """(`LabelledTraining`, `LabelledEvaluation`) of `settings`; the canvas of tests fits all `sizes` (height, width).

    `facts` are the `PixelFacts` of the run: crop, interpolation, and the mean colour that fills margins.

    >>> from flax_dynconv.training.kinds.segment import pixel_facts
    >>> from flax_dynconv.training.settings import Settings
    >>> settings = Settings().updated(crop_size=(8, 9))
    >>> training, evaluation = labelled_transforms(settings, pixel_facts(settings), {(10, 30), (20, 15)})
    >>> training.crop, evaluation.canvas, evaluation.fill
    ((8, 9), (20, 30), (124, 116, 104))
    """
    chosen, resize = settings.segmentation, settings.images.resize
    shared = {
        'resize': resize,
        'interpolation': facts.interpolation,
        'fill': tuple(round(255 * mean) for mean in facts.mean),
        'ignore_label': chosen.ignore_label,
    }
    training = LabelledTraining(
        crop=facts.crop,
        scale_range=chosen.scale_range,
        share=chosen.crop_share,
        flip=settings.augmentation.flip,
        color_jitter=settings.augmentation.color_jitter,
        **shared,
    )
    scaled = [scaled_size(*size, resize) for size in sizes]
    canvas = tuple(max(lengths) for lengths in zip(*scaled, strict=True))
    return training, LabelledEvaluation(canvas=canvas, **shared)
