"""The default run: scans of digits on two cores, in minutes.

Paper: none; ODConv's smallest network beside its static twin on the 1,797 scans that come with scikit-learn.
Expected: 99 to 100 % of the 450 held-out scans, by both networks.
Command: `flax-dynconv train`.
"""

from flax_dynconv.training.recipes.recipe import Recipe
from flax_dynconv.training.settings import Settings

RECIPES = (
    Recipe(
        name='digits',
        paper="none: a first run; images of Alpaydin and Kaynak (1998), as scikit-learn's load_digits has them",
        expected='of the 450 held-out scans, measured with seed 0: dynamic 99.11 %, static 99.78 %; a scan is 0.22 %',
        command='flax-dynconv train',
        settings=Settings(),
        notes=('These are the defaults of the command. The task is too easy to tell methods apart.',),
    ),
)
