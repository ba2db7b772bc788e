"""`flax-dynconv models`: names, patterns, exit codes."""

import json

import pytest

from flax_dynconv import cli
from flax_dynconv.models import MODELS, list_models


def test_all_names_one_on_each_line(capsys):
    assert cli.main(['models']) == 0
    assert capsys.readouterr().out.splitlines() == sorted(MODELS)


def test_a_pattern(capsys):
    assert cli.main(['models', 'odconv_resnet*_4x']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == list_models('odconv_resnet*_4x')
    assert 'odconv_resnet18_4x' in lines and 'odconv_resnet18_1x' not in lines


def test_json_has_the_static_twins(capsys):
    assert cli.main(['models', 'dyconv_resnet18_4x', '--json']) == 0
    assert json.loads(capsys.readouterr().out) == [{'name': 'dyconv_resnet18_4x', 'static_twin': 'resnet18'}]


@pytest.mark.parametrize(
    ('pattern', 'hint'),
    [
        ('condconv_resnet', 'did you mean condconv_resnet18_8x, condconv_resnet20_4x, condconv_resnet50_8x?'),
        ('*odconv_resnt18*', 'did you mean odconv_resnet18'),
        ('zzz', "no model matches 'zzz'\n"),
    ],
)
def test_no_match(pattern, hint, capsys):
    assert cli.main(['models', pattern]) == 1
    captured = capsys.readouterr()
    assert captured.out == ''
    assert hint in captured.err
    assert cli.main(['models', pattern, '--json']) == 1
    assert json.loads(capsys.readouterr().out) == []
