"""What a named preset of `flax-dynconv train` is: settings, and where they come from."""

import dataclasses

from flax_dynconv.training.settings import Settings


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings under a name, with the paper that they reproduce and the result to expect.

    Attributes:
      name: what `--recipe` is given.
      paper: whose training this is.
      expected: published results, or that there are none.
      command: to run it.
      settings: defaults of the command line under this recipe.
      notes: what is known of the source of each number, and what differs from it here.

    >>> from flax_dynconv.training.recipes import RECIPES
    >>> RECIPES['odconv-resnet-100ep'].settings.optimization.milestones
    (30.0, 60.0, 90.0)
    """

    name: str
    paper: str
    expected: str
    command: str
    settings: Settings
    notes: tuple[str, ...] = ()

    def text(self):
        """Paper, expected result, command and notes, as paragraphs and a list."""
        heads = f'Paper: {self.paper}.', f'Expected: {self.expected}.', f'Command: {self.command}'
        return '\n\n'.join((*heads, '\n'.join(f'- {note}' for note in self.notes)))


def imagenet(**values):
    """Settings that ImageNet's recipes share: crops of random size, mirror images, the dynamic network alone.

    The data are a folder `imagenet` unless `--data` says otherwise.
    """
    shared = {'data': 'imagenet', 'crop': 'random-resized', 'flip': 0.5, 'warmup_epochs': 0.0, 'twin': False}
    return Settings().updated(**{**shared, **values})
