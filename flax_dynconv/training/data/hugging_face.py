"""Images of Hugging Face `datasets`: a folder of `save_to_disk`, or the name of a data set."""

from pathlib import Path

import numpy as np

from flax_dynconv.training.data.source import check_labels, check_split, evaluation_split, only_feature
from flax_dynconv.training.extras import require


class HuggingFace:
    """A `Source` of a `datasets.DatasetDict`; `name` is a folder that `save_to_disk` wrote, or a name to load.

    Images are the column of the type `Image`, labels the one of the type `ClassLabel`; where there are several, those
    called 'image' and 'label'. Classes have the data set's own numbers. The split to evaluate on is the first of
    val, validation, valid and test that exists. A name that is no folder is downloaded by `datasets.load_dataset`.

    Raises ImportError without `datasets`, ValueError for a data set without such columns, splits or labels, and what
    `datasets` raises for one that it does not find.
    """

    splits = ('train', 'test')

    def __init__(self, name):
        datasets = require('datasets', 'reads Hugging Face data sets')
        where = f'the data set {name!r}'
        saved = (Path(name) / 'dataset_dict.json').is_file()
        loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
        names = {'train': 'train', 'test': evaluation_split(loaded.keys(), where)}
        features = loaded['train'].features
        self.image = only_feature(features, datasets.Image, 'image', 'column', where)
        self.label = only_feature(features, datasets.ClassLabel, 'label', 'column', where)
        self.classes = tuple(features[self.label].names)
        self.names = names
        columns, undecoded = [self.image, self.label], datasets.Image(decode=False)
        self.tables = {
            split: loaded[own].select_columns(columns).cast_column(self.image, undecoded)
            for split, own in names.items()
        }
        labels = {split: np.asarray(table.with_format('numpy')[self.label][:]) for split, table in self.tables.items()}
        check_labels(labels, self.classes, where)

    def size(self, split):
        """Number of images."""
        check_split(split, self.splits)
        return len(self.tables[split])

    def read(self, split, index):
        """(bytes of the image file, label, name: split, row and path, if there is one)."""
        row = self.tables[split][int(index)]
        data, path = row[self.image]['bytes'], row[self.image]['path']
        name = f'{self.names[split]}[{index}]' + (f' {path}' if path else '')
        return Path(path).read_bytes() if data is None else data, row[self.label], name
