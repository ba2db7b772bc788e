"""Named presets of `flax-dynconv train`: one file per method; `flax-dynconv recipes` lists them."""

import difflib

from flax_dynconv.training.recipes import (
    cifar10,
    condconv,
    condinst,
    dfn,
    digits,
    dmnet,
    dyconv,
    dynet,
    hdfnet,
    odconv,
)
from flax_dynconv.training.recipes.recipe import Recipe

__all__ = ['RECIPES', 'Recipe', 'find_recipe']

RECIPES = {
    recipe.name: recipe
    for method in (odconv, condconv, dyconv, dynet, cifar10, dfn, dmnet, condinst, hdfnet, digits)
    for recipe in method.RECIPES
}


def find_recipe(name):
    """The `Recipe` called `name`; ValueError for an unknown one, with those whose names are close.

    >>> find_recipe('dynet-resnet').settings.epochs
    100
    """
    if name not in RECIPES:
        close = difflib.get_close_matches(str(name), RECIPES, n=3)
        hint = f'did you mean {", ".join(close)}?' if close else 'flax-dynconv recipes lists them'
        raise ValueError(f'recipe must be a known one, got {name!r}; {hint}')
    return RECIPES[name]
