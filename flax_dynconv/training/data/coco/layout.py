"""Where COCO's files lie in a folder."""

from flax_dynconv.training.data.source import TEST_NAMES, shortened

PREFIX = 'instances_'
TRAIN_NAMES = ('train',)


def find_annotations(path):
    """{'train': path, 'test': path} of the json files in the folder `path`, a `pathlib.Path`.

    They are annotations/instances_train*.json or train.json; and annotations/instances_val*.json or val.json, or with
    validation, valid or test in their names: the first that exists. Raises FileNotFoundError where there is none,
    ValueError where there are several.
    """
    if not path.is_dir():
        raise FileNotFoundError(f'there is no folder {path}')
    return {split: _find(path, names) for split, names in (('train', TRAIN_NAMES), ('test', TEST_NAMES))}


def _find(path, names):
    for name in names:
        for found in (sorted(path.glob(f'annotations/{PREFIX}{name}*.json')), sorted(path.glob(f'{name}.json'))):
            if len(found) > 1:
                raise ValueError(f'{path} must hold one file of {name}, got {[str(f.name) for f in found]}')
            if found:
                return found[0]
    expected = ' or '.join(f'annotations/{PREFIX}{name}*.json or {name}.json' for name in names)
    present = [file.relative_to(path).as_posix() for file in sorted(path.rglob('*.json'))]
    raise FileNotFoundError(f'{path} must hold {expected}, got the json files {shortened(present)}')


def image_folder(path, annotations, file_name):
    """The folder in which `file_name`, an image of the json file `annotations`, lies; FileNotFoundError for none.

    Of instances_NAME.json, or NAME.json: NAME, images/NAME, images, or the folder `path` itself.
    """
    name = annotations.stem.removeprefix(PREFIX)
    folders = [path / name, path / 'images' / name, path / 'images', path]
    for folder in folders:
        if (folder / file_name).is_file():
            return folder
    places = ', '.join(map(str, folders))
    raise FileNotFoundError(f'{annotations}: its first image {file_name} is in none of the folders {places}')
