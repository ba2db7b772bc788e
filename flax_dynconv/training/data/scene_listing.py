"""Which images, depth and masks belong together, read off the names of the files."""

from typing import NamedTuple

from flax_dynconv.training.data.listing import ENDINGS, is_image
from flax_dynconv.training.data.source import TEST_NAMES, shortened

# Names of the folders, in any case.
FOLDERS = {'image': ('rgb', 'image', 'images'), 'depth': ('depth', 'depths'), 'mask': ('mask', 'masks', 'gt')}
TRAIN_NAMES = ('train', 'training')


class Triple(NamedTuple):
    """Paths of an image, its depth and its mask, relative to the folder of the data."""

    image: str
    depth: str
    mask: str


def triple_up(files, where):
    """{'train': triples, 'test': triples} of `files`, relative paths with '/', sorted by name; `where` is for messages.

    They are SPLIT/RGB/NAME.jpg, SPLIT/depth/NAME.png and SPLIT/mask/NAME.png, with any ending of an image; RGB may be
    called image too, and mask GT, in upper or lower case. The test images are in val, validation, valid or test: the
    first of them that exists. Hidden files, and files without the ending of an image, are nothing.

    Raises ValueError that says which for a missing split or folder, two folders of one kind, images without depth or
    mask, depth or masks without an image, and several files for one.

    >>> files = [f'{split}/{folder}/a.png' for split in ('train', 'test') for folder in ('RGB', 'depth', 'GT')]
    >>> triple_up(files, 'here')['test']
    (Triple(image='test/RGB/a.png', depth='test/depth/a.png', mask='test/GT/a.png'),)
    """
    files = sorted(path for path in files if is_image(path) and not any(p.startswith('.') for p in path.split('/')))
    tops = {path.split('/')[0] for path in files if path.count('/') > 1}
    found = {}
    for split, names in (('train', TRAIN_NAMES), ('test', TEST_NAMES)):
        name = next((name for name in names if name in tops), None)
        if name is None:
            raise ValueError(
                f'{where} must hold SPLIT/RGB/IMAGE, SPLIT/depth/IMAGE and SPLIT/mask/IMAGE, for the splits train and '
                f'test, got no {split} images among the files '
                f'{shortened(files) if files else f"[]: none that ends in {chr(32).join(ENDINGS)}"}'
            )
        found[split] = _triples(files, name, where)
    return found


def _triples(files, split, where):
    folders = _folders(files, split, where)
    names = {kind: _by_name(files, folder, where) for kind, folder in folders.items()}
    for kind in ('depth', 'mask'):
        for have, lack in (('image', kind), (kind, 'image')):
            missing = [path for name, path in names[have].items() if name not in names[lack]]
            if missing:
                raise ValueError(
                    f'{where}: every image must have its depth and its mask, and these their image; there is no {lack} '
                    f'in {folders[lack]} for {shortened(missing)}'
                )
    return tuple(Triple(*(names[kind][name] for kind in Triple._fields)) for name in sorted(names['image']))


def _folders(files, split, where):
    """{kind: its folder, with a slash at the end}."""
    present = sorted({path.split('/')[1] for path in files if path.startswith(f'{split}/') and path.count('/') > 1})
    chosen = {}
    for kind, names in FOLDERS.items():
        own = [name for name in present if name.lower() in names]
        if len(own) != 1:
            raise ValueError(
                f'{where}: {split} must hold one folder of {kind}s with files, called {" or ".join(names)} in upper or '
                f'lower case, got {own} of {shortened(present)}'
            )
        chosen[kind] = f'{split}/{own[0]}/'
    return chosen


def _by_name(files, folder, where):
    found = {}
    for path in files:
        if path.startswith(folder):
            name = path[len(folder) :].rpartition('.')[0]
            if name in found:
                raise ValueError(f'{where}: names must differ in more than the ending, got {found[name]} and {path}')
            found[name] = path
    return found
