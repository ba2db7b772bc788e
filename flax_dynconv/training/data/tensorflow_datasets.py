"""Images of TensorFlow Datasets that were prepared as ArrayRecord files, read without TensorFlow."""

from pathlib import Path

from flax_dynconv.training.data.source import check_split, evaluation_split, only_feature
from flax_dynconv.training.extras import require


class TensorFlowDatasets:
    """A `Source` of a prepared data set; `name` is a name of TFDS, or the folder that holds `dataset_info.json`.

    Names are looked up where TFDS keeps its data (`TFDS_DATA_DIR`); nothing is downloaded or prepared here. The image
    files are read as they are, so that TensorFlow is not needed. The image is the feature of the type `Image`, the
    label that of the type `ClassLabel`; where there are several, those called 'image' and 'label'. Classes have the
    data set's own numbers.

    Raises ImportError without `tensorflow_datasets`, ValueError for a data set that is unknown, not prepared or
    prepared in another format, with the command that prepares it, and for one without such features or splits.
    """

    splits = ('train', 'test')

    def __init__(self, name):
        tfds = require('tensorflow_datasets', 'reads TensorFlow Datasets')
        where = f'the data set {name!r}'
        builder = _builder(tfds, name, where)
        self.names = {'train': 'train', 'test': evaluation_split(builder.info.splits.keys(), where)}
        features = builder.info.features
        self.image = only_feature(features, tfds.features.Image, 'image', 'feature', where)
        self.label = only_feature(features, tfds.features.ClassLabel, 'label', 'feature', where)
        self.classes = tuple(features[self.label].names)
        decoders = {self.image: tfds.decode.SkipDecoding()}
        self.records = {
            split: builder.as_data_source(split=own, decoders=decoders) for split, own in self.names.items()
        }

    def size(self, split):
        """Number of images."""
        check_split(split, self.splits)
        return len(self.records[split])

    def read(self, split, index):
        """(bytes of the image file, label, name: split and position)."""
        record = self.records[split][int(index)]
        return record[self.image], int(record[self.label]), f'{self.names[split]}[{index}]'


def _builder(tfds, name, where):
    folder = Path(name).expanduser()
    command = f'tfds build {name} --file_format=array_record'
    if (folder / 'dataset_info.json').is_file():
        builder = tfds.builder_from_directory(folder)
    else:
        try:
            builder = tfds.builder(name)
        except (tfds.core.DatasetNotFoundError, ValueError) as error:
            raise ValueError(f'{where} is no folder with dataset_info.json and no data set that TFDS knows') from error
    if not builder.info.splits:
        raise ValueError(f'{where} is not prepared in {builder.data_dir}: run `{command}`')
    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise ValueError(
            f'{where} must be prepared as array_record, got {builder.info.file_format.value}: run `{command}`'
        )
    return builder
