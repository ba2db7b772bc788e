"""What sources of drawn pictures share: as many as asked for, of one size."""

from flax_dynconv.training.data.source import check_split


class DrawnPictures:
    """Pictures of `side` x `side` pixels, so many in an epoch and for tests; a subclass draws them."""

    splits = ('train', 'test')

    def __init__(self, side, train_examples, test_examples):
        self.side, self._sizes = side, {'train': train_examples, 'test': test_examples}

    def size(self, split):
        """Number of pictures."""
        check_split(split, self.splits)
        return self._sizes[split]

    def dimensions(self, split):
        """{(height, width)} of the pictures: one."""
        check_split(split, self.splits)
        return {(self.side, self.side)}
