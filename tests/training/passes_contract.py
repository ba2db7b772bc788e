"""What the batches of every task must be: facts that tests of tasks share."""

import numpy as np


def same(first, second):
    """The same batches, bit by bit; at least one."""
    first, second = list(first), list(second)
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def check(task, name, size, fresh=False):
    """Batches are those of the example; parts of a pass are those of the whole; seeds, epochs and rows differ.

    `name` is the entry that tells examples apart, `size` the number of test examples; `fresh`: no example comes twice.
    """
    whole = {split: list(task.batches(split, 4, seed=3, epoch=2)) for split in ('train', 'test')}
    assert len(whole['train']) == task.steps_per_epoch(4)
    example = task.example()
    for batches in whole.values():
        for batch in batches:
            assert {k: (a.shape[1:], a.dtype) for k, a in batch.items()} == {
                k: (a.shape[1:], a.dtype) for k, a in example.items()
            }
            assert {len(array) for array in batch.values()} == {4}
    for split, batches in whole.items():
        for start in range(1, len(batches)):
            same(batches[start:], task.batches(split, 4, 3, 2, start=start))
        parts = [task.batches(split, 4, 3, 2, rows=rows) for rows in ([0, 1], [2, 3])]
        same(
            batches,
            ({k: np.concatenate([part[k] for part in pair]) for k in pair[0]} for pair in zip(*parts, strict=True)),
        )
    train = np.concatenate([batch[name] for batch in whole['train']])
    assert len({each.tobytes() for each in train}) == len(train)
    for other in ((3, 3), (4, 2)):
        again = np.concatenate([batch[name] for batch in task.batches('train', 4, *other)])
        common = {each.tobytes() for each in again} & {each.tobytes() for each in train}
        assert not common if fresh else not np.array_equal(again, train)
    check_test_split(task, name, size)


def check_test_split(task, name, size):
    """Every test example counts once, whatever the seed and the batch size."""
    found = []
    for batch_size, seed in ((1, 0), (3, 1), (size + 2, 2)):
        batches = list(task.batches('test', batch_size, seed, epoch=seed))
        mask = np.concatenate([batch['mask'] for batch in batches])
        assert mask.tolist() == [1.0] * size + [0.0] * (len(mask) - size)
        found.append(np.concatenate([batch[name] for batch in batches])[mask > 0])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert len({each.tobytes() for each in found[0]}) == size
