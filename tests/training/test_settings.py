"""Settings refuse what cannot be trained."""

import dataclasses
import json

import pytest

from flax_dynconv.training.settings import Settings


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('epochs', 0, r'epochs must be a number >= 1, got 0'),
        ('batch_size', 1, r'batch_size must be a number >= 2, got 1'),
        ('learning_rate', 0.0, r'learning_rate must be a number > 0, got 0.0'),
        ('learning_rate', float('nan'), r'learning_rate must be a number > 0, got nan'),
        ('temperature', 0.5, r'temperature must be a number >= 1, got 0.5'),
        ('temperature_epochs', -1.0, r'temperature_epochs must be a number >= 0, got -1.0'),
        ('width', -1.0, r'width must be a number > 0, got -1.0'),
        ('seed', -1, r'seed must be a number >= 0, got -1'),
    ],
)
def test_mistakes_are_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{name: value})


def test_settings_survive_json():
    settings = Settings(seed=7, temperature_epochs=2.5)
    assert Settings(**json.loads(json.dumps(dataclasses.asdict(settings)))) == settings
