"""Settings refuse what cannot be trained, survive JSON and know every field by one name."""

import dataclasses
import json

import pytest

from flax_dynconv.training.settings import GROUPS, OWNERS, Settings


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('epochs', 0, r'epochs must be a number >= 1, got 0'),
        ('seed', -1, r'seed must be a number >= 0, got -1'),
        ('width', -1.0, r'width must be a number > 0, got -1.0'),
        ('num_kernels', 0, r'num_kernels must be a number >= 1, got 0'),
        ('dropout', 1.0, r'dropout must be a number from 0 to 0.999, got 1.0'),
        ('arguments', '{a', r"arguments must be JSON, got '\{a'"),
        ('arguments', '[1]', r"arguments must be a JSON object, got '\[1\]'"),
        ('batch_size', 1, r'batch_size must be a number >= 2, got 1'),
        ('reader_threads', 0, r'reader_threads must be a number >= 1, got 0'),
        ('crop_scale', (0.5, 0.1), r'crop_scale must be two numbers, 0 < low <= high <= 1.0, got \(0.5, 0.1\)'),
        ('crop_scale', (0.5, 1.1), r'crop_scale must be two numbers, .* got \(0.5, 1.1\)'),
        ('randaugment_magnitude', 11, r'randaugment_magnitude must be a number from 0 to 10, got 11'),
        ('flip', 1.5, r'flip must be a number from 0 to 1, got 1.5'),
        ('learning_rate', 0.0, r'learning_rate must be a number > 0, got 0.0'),
        ('learning_rate', float('nan'), r'learning_rate must be a number > 0, got nan'),
        ('milestones', (10.0, -1.0), r'milestones must be a number >= 0, got -1.0'),
        ('clip_norm', 0.0, r'clip_norm must be a number > 0, got 0.0'),
        ('ema', 1.5, r'ema must be a number from 0 to 1, got 1.5'),
        ('temperature', 0.5, r'temperature must be a number >= 1, got 0.5'),
        ('temperature_epochs', -1.0, r'temperature_epochs must be a number >= 0, got -1.0'),
        ('accumulate', 3, r'accumulate must divide batch_size = 32, got 3'),
        ('ignore_label', -1, r'ignore_label must be a number from 0 to 65535, got -1'),
        ('auxiliary_weight', -0.1, r'auxiliary_weight must be a number >= 0, got -0.1'),
        ('crop_share', 1.5, r'crop_share must be a number from 0 to 1, got 1.5'),
        ('crop_size', (0, 8), r'crop_size must be a number >= 1, got 0'),
        ('scale_range', (2.0, 0.5), r'scale_range must be two numbers, 0 < low <= high, got \(2.0, 0.5\)'),
        ('mesh', (-1, -1, 1), r'mesh must be three sizes >= 1, of which one may be -1, got \(-1, -1, 1\)'),
        ('mesh', (0, 1, 1), r'mesh must be three sizes >= 1, of which one may be -1, got \(0, 1, 1\)'),
        ('keep', 0, r'keep must be a number >= 1, got 0'),
        ('learning_rat', 0.1, r"settings must be among .*'learning_rate'.*, got 'learning_rat'"),
    ],
)
def test_mistakes_are_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        Settings().updated(**{name: value})


CHANGED = {
    'seed': 7,
    'temperature_epochs': 2.5,
    'milestones': (3.0,),
    'no_decay': ('norm', 'bias'),
    'mesh': (-1, 2, 1),
    'arguments': '{"reduction": 0.5}',
}


def test_settings_survive_json():
    settings = Settings().updated(**CHANGED)
    assert Settings.from_json(json.loads(json.dumps(settings.flat()))) == settings
    assert settings.optimization.milestones == (3.0,)


def test_json_from_before_a_setting_has_its_default():
    flat = Settings().updated(**CHANGED).flat()
    assert flat.pop('seed') != Settings().seed
    assert Settings.from_json(flat) == Settings().updated(**CHANGED).updated(seed=Settings().seed)


def test_json_with_settings_that_are_not_known_is_refused():
    flat = Settings().flat() | {'letters': 'digits'}
    with pytest.raises(ValueError, match=r"settings: unknown names \['letters'\]$"):
        Settings.from_json(flat)


def test_every_field_has_one_name_and_a_place():
    names = [field.name for record in GROUPS.values() for field in dataclasses.fields(record)]
    names += [field.name for field in dataclasses.fields(Settings) if field.name not in GROUPS]
    assert len(names) == len(set(names))
    assert set(names) == set(Settings().flat())
    for name, group in OWNERS.items():
        assert hasattr(getattr(Settings(), group), name)


def test_updated_leaves_the_rest_alone():
    before = Settings()
    after = before.updated(**CHANGED)
    assert before == Settings()
    assert {name for name, value in after.flat().items() if value != before.flat()[name]} == set(CHANGED)


def test_lengths_that_follow_from_others():
    assert Settings(epochs=30).annealed_epochs == 10
    assert Settings(epochs=30).updated(temperature_epochs=4.0).annealed_epochs == 4
    assert Settings().updated(batch_size=64).images.test_batch_size == 64
    assert Settings().updated(evaluation_batch_size=5).images.test_batch_size == 5
