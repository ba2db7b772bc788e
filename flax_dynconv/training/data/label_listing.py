"""Which images belong to which label images, read off the names of the files."""

from typing import NamedTuple

from flax_dynconv.training.data.listing import ENDINGS, is_image
from flax_dynconv.training.data.source import TEST_NAMES, shortened


class Layout(NamedTuple):
    """Folders of images and labels, with `{split}` for the split, and what their names have after the common part."""

    images: str
    labels: str
    image_suffix: str = ''
    label_suffix: str = ''


LAYOUTS = (
    Layout('{split}/images', '{split}/labels'),
    Layout('images/{split}', 'annotations/{split}'),  # ADE20K
    Layout('leftImg8bit/{split}', 'gtFine/{split}', '_leftImg8bit', '_gtFine_labelTrainIds'),  # Cityscapes
)
TRAIN_NAMES = ('train', 'training')


class Pair(NamedTuple):
    """Paths of an image and of its labels, relative to the folder of the data."""

    image: str
    label: str


def pair_up(files, where):
    """{'train': pairs, 'test': pairs} of `files`, relative paths with '/', sorted; `where` names the place in messages.

    An image and its labels have the same path below their folders but for the ending. The test images are in val,
    validation, valid or test: the first of them that exists. Hidden files, and files without the ending of an image,
    are nothing; labels must be PNG files.

    Raises ValueError that says which for an unknown layout, a split without images, images without labels, labels
    without an image, and several files for one.

    >>> pair_up(['train/images/a.jpg', 'train/labels/a.png', 'val/images/b.png', 'val/labels/b.png'], 'here')['test']
    (Pair(image='val/images/b.png', label='val/labels/b.png'),)
    """
    files = sorted(path for path in files if is_image(path) and not any(p.startswith('.') for p in path.split('/')))
    for layout in LAYOUTS:
        found = {}
        for split, names in (('train', TRAIN_NAMES), ('test', TEST_NAMES)):
            for name in names:
                start = layout.images.format(split=name) + '/'
                if any(path.startswith(start) for path in files):
                    found[split] = _pairs(files, layout, name, where)
                    break
        if len(found) == 2:
            return found
    expected = ' or '.join(f'{layout.images}/IMAGE with {layout.labels}/LABELS.png' for layout in LAYOUTS)
    raise ValueError(
        f'{where} must hold {expected}, for the splits train and val, got the files '
        f'{shortened(files) if files else f"[]: none that ends in {chr(32).join(ENDINGS)}"}'
    )


def _pairs(files, layout, split, where):
    folders = layout.images.format(split=split) + '/', layout.labels.format(split=split) + '/'
    images = _by_name(files, folders[0], layout.image_suffix, where)
    # Beside the labels that are meant lie others (Cityscapes' colours and instances): the suffix tells them apart.
    labels = _by_name([path for path in files if path.lower().endswith('.png')], folders[1], layout.label_suffix, where)
    for kind, names, other in (('labels', images, labels), ('image', labels, images)):
        missing = [path for name, path in names.items() if name not in other]
        if missing:
            folder = folders[1] if kind == 'labels' else folders[0]
            raise ValueError(
                f'{where}: every image must have its labels and all labels their image; there is no {kind} in '
                f'{folder} for {shortened(missing)}'
            )
    return tuple(Pair(images[name], labels[name]) for name in sorted(images))


def _by_name(files, folder, suffix, where):
    found = {}
    for path in files:
        stem = path[len(folder) :].rpartition('.')[0]
        if path.startswith(folder) and stem.endswith(suffix):
            name = stem[: len(stem) - len(suffix)]
            if name in found:
                raise ValueError(f'{where}: names must differ in more than the ending, got {found[name]} and {path}')
            found[name] = path
    return found
