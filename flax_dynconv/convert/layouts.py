"""Layouts of activations: channels first as PyTorch has them, channels last as Flax has them."""

import numpy as np

LAYOUTS = ('channels_first', 'as_is')


def to_flax(x: np.ndarray, layout: str) -> np.ndarray:
    """(B, C, *spatial) to (B, *spatial, C) for 'channels_first'; unchanged for 'as_is'.

    >>> to_flax(np.zeros((2, 8, 5, 6)), 'channels_first').shape
    (2, 5, 6, 8)
    """
    return np.moveaxis(x, 1, -1) if _moves(layout) and x.ndim > 1 else x


def to_torch(x: np.ndarray, layout: str) -> np.ndarray:
    """(B, *spatial, C) to (B, C, *spatial) for 'channels_first'; unchanged for 'as_is'."""
    return np.moveaxis(x, -1, 1) if _moves(layout) and x.ndim > 1 else x


def _moves(layout):
    if layout not in LAYOUTS:
        raise ValueError(f'layout: expected one of {LAYOUTS}, got {layout!r}')
    return layout == 'channels_first'
