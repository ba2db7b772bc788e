"""Images in folders, with the class of every pixel in label images beside them."""

from pathlib import Path

from flax_dynconv.training.data.decoding import decode
from flax_dynconv.training.data.heads import files_below, opened
from flax_dynconv.training.data.label_decoding import check_ignored, check_mode, decode_labels, to_classes
from flax_dynconv.training.data.label_listing import pair_up
from flax_dynconv.training.data.source import check_split

CLASS_FILE = 'classes.txt'


class LabelFolder:
    """Pairs of images and label images below `path`; see `label_listing.pair_up` for layouts and errors.

    The classes are the lines of `class_names`, of classes.txt in the folder, or else the numbers from 0 to the largest
    label of the training images but `ignore_label`, all of which are read for that.

    At opening the heads of all files are read: ValueError that names the file for a label image of another mode than
    L, P or I, and for an image and labels of different sizes; `UnreadableImage` for what is no image. ValueError too
    where `ignore_label` is the label of a class. FileNotFoundError if there is no such folder or file of names.
    """

    splits = ('train', 'test')

    def __init__(self, path, class_names='', ignore_label=255, reduce_zero_label=False):
        self.path, self.ignore_label, self.reduce_zero_label = Path(path), ignore_label, reduce_zero_label
        self.pairs = pair_up(files_below(self.path), f'the folder {self.path}')
        self._dimensions = {split: self._measured(pairs) for split, pairs in self.pairs.items()}
        if class_names or (self.path / CLASS_FILE).is_file():
            self.classes = _lines(Path(class_names).expanduser() if class_names else self.path / CLASS_FILE)
        else:
            self.classes = tuple(map(str, range(self._largest() + 1)))
        check_ignored(ignore_label, len(self.classes), reduce_zero_label, f'the folder {self.path}')

    def size(self, split):
        """Number of images."""
        check_split(split, self.splits)
        return len(self.pairs[split])

    def dimensions(self, split):
        """{(height, width)} of the images: which there are."""
        check_split(split, self.splits)
        return self._dimensions[split]

    def example(self, split, index, generator):
        """(PIL image RGB, labels (H, W) int32, path below the folder); the generator is not needed.

        Raises `UnreadableImage` for a damaged file, ValueError for labels that are no class.
        """
        image, label = self.pairs[split][index]
        values = decode_labels((self.path / label).read_bytes(), label)
        labels = to_classes(values, label, len(self.classes), self.ignore_label, self.reduce_zero_label)
        return decode((self.path / image).read_bytes(), image), labels, image

    def _measured(self, pairs):
        """{(height, width)}; only the heads of the files are read."""
        found = set()
        for image, label in pairs:
            with opened(self.path / image, image) as picture, opened(self.path / label, label) as labels:
                check_mode(labels, label)
                if picture.size != labels.size:
                    raise ValueError(
                        f'{label} must have the size of its image {image}, {picture.width} x {picture.height} pixels, '
                        f'got {labels.width} x {labels.height}'
                    )
                found.add((picture.height, picture.width))
        return found

    def _largest(self):
        largest = -1
        for _, label in self.pairs['train']:
            values = decode_labels((self.path / label).read_bytes(), label)
            values = values[values != self.ignore_label]
            largest = max(largest, int(values.max(initial=-1)) - int(self.reduce_zero_label))
        if largest < 1:
            raise ValueError(
                f'the folder {self.path} must have labels of at least two classes, or a {CLASS_FILE} with their names; '
                f'the largest label of its training images is {largest}'
            )
        return largest


def _lines(path):
    try:
        names = path.read_text(encoding='utf-8').splitlines()
    except FileNotFoundError as error:
        raise FileNotFoundError(f'class_names must be a file, there is none at {path}') from error
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} must be a text with one class name per line: {error}') from error
    while names and not names[-1].strip():
        names.pop()
    names = tuple(name.strip() for name in names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if len(names) < 2 or twice:
        raise ValueError(f'{path} must name at least two classes, each once, got {len(names)}, and twice {twice}')
    return names
