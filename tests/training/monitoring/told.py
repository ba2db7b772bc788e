"""A run told to observers without training anything."""

PER_EPOCH, EPOCHS, BATCH = 4, 3, 8
STEPS = PER_EPOCH * EPOCHS


def figures(step):
    """What the loop says of a step."""
    return {'loss': 2.0 / (step + 1), 'learning_rate': 0.1, 'temperature': 1.0, 'gradient_norm': 0.5 + step}


def record(epoch, **others):
    """What the loop says of an epoch."""
    return {
        'epoch': epoch,
        'train': {'loss': 1.5 / epoch, 'accuracy': 1 - 0.5 / epoch},
        'test': {'loss': 2.5 / epoch, 'accuracy': 1 - 0.75 / epoch},
        'learning_rate': 0.1 / epoch,
        'temperature': 30.0 / epoch,
        'gradient_norm': 2.0 / epoch,
        'attention_entropy': 1.25 / epoch,
        'seconds': 2.0,
        'images_per_second': 1234.5,
        'skipped': 0,
        **others,
    }


def tell(observer, role='dynamic', start=0, stop=STEPS, last_epoch=True):
    """Tell of the steps from `start` to `stop`, and of the epochs that end there; `last_epoch`: of the last too."""
    observer.started(role, start, STEPS, PER_EPOCH, BATCH)
    for step in range(start, stop):
        observer.stepped(step, figures(step))
        if (step + 1) % PER_EPOCH == 0 and (step + 1 < stop or last_epoch):
            observer.epoch_ended(record((step + 1) // PER_EPOCH))
