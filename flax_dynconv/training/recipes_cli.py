"""`flax-dynconv recipes`: the named presets of `flax-dynconv train`."""

import json
import sys

from flax_dynconv.training.recipes import RECIPES, find_recipe
from flax_dynconv.training.settings import Settings


def add_parser(subparsers):
    """Add the command to argparse's subparsers."""
    parser = subparsers.add_parser('recipes', help='list the recipes of `train`: paper, expected result, command')
    parser.add_argument('name', nargs='?', help='one recipe, with the settings in which it differs from the defaults')
    parser.add_argument('--json', action='store_true', help='as JSON')


def run(args):
    """Print the recipes, or one of them; exit code 0."""
    chosen = list(RECIPES.values()) if args.name is None else [find_recipe(args.name)]
    if args.json:
        json.dump([_record(recipe) for recipe in chosen], sys.stdout, indent=2)
        print()
        return 0
    for recipe in chosen:
        if args.name is None:
            print(f'{recipe.name}\n  {recipe.paper}\n  expected: {recipe.expected}\n  {recipe.command}\n')
        else:
            print(f'{recipe.name}\n\n{recipe.text()}\n\nSettings other than the defaults:')
            for name, value in changed(recipe).items():
                print(f'  {name} = {value}')
    return 0


def changed(recipe):
    """{name: value} of the settings in which a recipe differs from the defaults.

    >>> changed(RECIPES['digits'])
    {}
    """
    usual = Settings().flat()
    return {name: value for name, value in recipe.settings.flat().items() if value != usual[name]}


def _record(recipe):
    texts = {name: getattr(recipe, name) for name in ('name', 'paper', 'expected', 'command', 'notes')}
    return texts | {'settings': recipe.settings.flat()}
