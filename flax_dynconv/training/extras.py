"""Optional packages: imported where they are needed, with an error that says how to get them."""

import importlib


def require(module, purpose):
    """The module of that name; ImportError says what for and which extra brings it.

    >>> require('json', 'reads the results').__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {'sklearn': 'scikit-learn'}.get(module.split('.')[0], module.split('.')[0])
        raise ImportError(
            f"{package} is not installed; it {purpose} and comes with the 'train' extra: "
            "pip install 'flax-dynconv[train]' (in a checkout: pip install '.[train]')"
        ) from error
