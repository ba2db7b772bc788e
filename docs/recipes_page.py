"""Print docs/recipes.md: the recipes of `flax-dynconv train` with the settings that they change."""

from flax_dynconv.training.recipes import RECIPES
from flax_dynconv.training.recipes_cli import changed

HEAD = """# Recipes

Named settings of `flax-dynconv train --recipe NAME`: published trainings of the networks that are here, one recipe for
all methods on CIFAR-10, and the default run. Flags on the command line come on top of a recipe;
`flax-dynconv train --recipe NAME --help` shows every setting with the value that it has there. `FOLDER` stands for
images as `--data` takes them: train/CLASS/IMAGE and val/CLASS/IMAGE in a folder, .zip or .tar, and other sources; for
segmentation images with labelled pixels (data.md).

No result below is of a run of this library unless it says so. This page is the output of

    python docs/recipes_page.py
"""


def page():
    """The page as text."""
    parts = [HEAD]
    for recipe in RECIPES.values():
        settings = ', '.join(f'`{name}={value!r}`' for name, value in changed(recipe).items())
        parts.append(f'\n## {recipe.name}\n\n{recipe.paper}.\n\nExpected: {recipe.expected}.\n')
        parts.append(f'\n    {recipe.command}\n\n')
        parts += [f'* {note}\n' for note in recipe.notes]
        parts.append(f'\nSettings other than the defaults: {settings or "none"}.\n')
    return ''.join(parts)


if __name__ == '__main__':
    print(page(), end='')
