"""What happens to training and test images with objects, as the settings say."""

from flax_dynconv.training.augmentation.instances import InstanceEvaluation, InstanceTraining


def instance_transforms(settings, facts):
    """(`InstanceTraining`, `InstanceEvaluation`) of `settings`.

    `facts` are the `CanvasFacts` of the run: canvas, interpolation, and the mean colour that fills margins.

    >>> from types import SimpleNamespace
    >>> from flax_dynconv.training.settings import Settings
    >>> facts = SimpleNamespace(canvas=(64, 96), interpolation='bilinear', mean=(0.5, 0.5, 0.5))
    >>> training, evaluation = instance_transforms(Settings().updated(resize=48), facts)
    >>> training.shorter_sides, evaluation.shorter, evaluation.fill
    ((48,), 48, (128, 128, 128))
    """
    chosen, resize = settings.instances, settings.images.resize
    shared = {
        'canvas': facts.canvas,
        'longest': chosen.longer_side,
        'interpolation': facts.interpolation,
        'fill': tuple(round(255 * mean) for mean in facts.mean),
        'max_instances': chosen.max_instances,
        'bottom_rows': chosen.bottom_rows,
    }
    training = InstanceTraining(
        shorter_sides=chosen.shorter_sides or (() if resize is None else (resize,)),
        flip=settings.augmentation.flip,
        color_jitter=settings.augmentation.color_jitter,
        **shared,
    )
    return training, InstanceEvaluation(shorter=resize, **shared)
