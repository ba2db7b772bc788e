"""Optional packages: imported where they are needed, with an error that says how to get them."""

import importlib

# Packages whose modules have other names, and extras other than 'train'.
_PACKAGES = {'sklearn': 'scikit-learn', 'PIL': 'pillow', 'tensorflow_datasets': 'tensorflow-datasets'}
_EXTRAS = {'datasets': 'huggingface', 'tensorflow_datasets': 'tfds', 'pycocotools': 'coco'}


def require(module, purpose):
    """The module of that name; ImportError says what for and which extra brings it.

    >>> require('json', 'reads the results').__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        top = module.split('.')[0]
        package, extra = _PACKAGES.get(top, top), _EXTRAS.get(top, 'train')
        raise ImportError(
            f"{package} is not installed; it {purpose} and comes with the '{extra}' extra: "
            f"pip install 'flax-dynconv[{extra}]' (in a checkout: pip install '.[{extra}]')"
        ) from error
