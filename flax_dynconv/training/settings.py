"""Every choice of a training run in one frozen record; the command line fills it, `results.json` keeps it."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `flax-dynconv train` trains, and how; the defaults are its defaults.

    `temperature` is where the attention temperature starts; it falls linearly to 1 in `temperature_epochs`, by
    default a third of the run: 10 epochs of 30, where ODConv's ImageNet recipes take 10 of 100 or 150.
    `learning_rate` is the peak of a cosine, reached after `warmup_epochs`.

    Raises ValueError for a value out of range.

    >>> Settings(epochs=30).annealed_epochs
    10.0
    """

    task: str = 'digits'
    model: str = 'odconv_resnet8_4x'
    width: float = 1.0
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 0.1
    warmup_epochs: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    temperature: float = 30.0
    temperature_epochs: float | None = None
    seed: int = 0

    def __post_init__(self):
        at_least = {
            'epochs': 1,
            'batch_size': 2,  # batch norm of a single example is its bias
            'warmup_epochs': 0,
            'momentum': 0,
            'weight_decay': 0,
            'temperature': 1,
            'temperature_epochs': 0,
            'seed': 0,
        }
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise ValueError(f'{name} must be a number >= {least}, got {value}')
        for name in ('width', 'learning_rate'):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f'{name} must be a number > 0, got {getattr(self, name)}')

    @property
    def annealed_epochs(self):
        """Epochs until the attention temperature is 1."""
        return self.epochs / 3 if self.temperature_epochs is None else self.temperature_epochs
