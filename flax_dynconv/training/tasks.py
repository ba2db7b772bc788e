"""Tasks by name."""

from flax_dynconv.training.digits import digits

TASKS = {'digits': digits}


def create_task(name):
    """The task called `name`; ValueError for an unknown one.

    >>> create_task('digits').num_outputs
    10
    """
    if name not in TASKS:
        raise ValueError(f'task must be one of {sorted(TASKS)}, got {name!r}')
    return TASKS[name]()
