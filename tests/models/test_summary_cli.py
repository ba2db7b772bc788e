"""`flax-dynconv summary`: the table, its JSON, exit codes."""

import json

import jax
import jax.numpy as jnp
import pytest

from flax_dynconv import cli
from flax_dynconv.models import count, create_model, summary_cli


def report_of(name, size, classes=1000):
    return count(create_model(name, classes), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))


def test_json(capsys):
    assert cli.main(['summary', 'resnet18', '--json']) == 0
    summary = json.loads(capsys.readouterr().out)
    assert {key: value for key, value in summary.items() if key != 'layers'} == {
        'name': 'resnet18',
        'image_size': 224,
        'num_classes': 1000,
        'arguments': {},
        'parameters': 11_689_512,
        'multiply_adds': 1_814_073_344,
    }
    for total in ('parameters', 'multiply_adds'):
        assert sum(layer[total] for layer in summary['layers']) == summary[total]
    assert summary['layers'][0] == {
        'path': 'conv1',
        'kind': 'Conv',
        'output': [112, 112, 64],
        'parameters': 9408,
        'multiply_adds': 112 * 112 * 9408,
    }


def test_the_size_is_the_models_own_or_the_one_asked_for(capsys):
    for arguments, size in [([], 32), (['--image-size', '16'], 16)]:
        assert cli.main(['summary', 'odconv_resnet8_1x', '--json', '--num-classes', '0', *arguments]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary['image_size'] == size
        assert summary['multiply_adds'] == report_of('odconv_resnet8_1x', size, 0).multiply_adds
        assert 'fc' not in {layer['path'] for layer in summary['layers']}


def test_the_table(capsys):
    assert cli.main(['summary', 'resnet8', '--num-classes', '10']) == 0
    head, empty, names, *rows, total = capsys.readouterr().out.splitlines()
    assert (head, empty) == ('resnet8, images 32x32, 10 classes', '')
    assert names.split() == ['layer', 'kind', 'output', 'parameters', 'multiply-adds']
    assert rows[0].split() == ['conv1', 'Conv', '32x32x16', '432', '442,368']
    report = report_of('resnet8', 32, 10)
    assert len(rows) == len(report.layers)
    assert total.split() == ['total', f'{report.parameters:,}', f'{report.multiply_adds:,}']
    assert len({len(line) for line in (names, *rows, total)}) == 1


def test_a_narrow_table_cuts_paths_at_their_beginning():
    report = report_of('odconv_resnet8_1x', 32)
    lines = summary_cli.table(report, width=70).splitlines()
    assert {len(line) for line in lines} == {70}
    assert any(line.startswith('..') and '/hidden ' in line for line in lines)
    whole = summary_cli.table(report).splitlines()
    assert summary_cli.table(report, width=1000).splitlines() == whole
    assert not any(line.startswith('..') for line in whole)


def test_mistakes(capsys):
    assert cli.main(['summary', 'odconv_resnet19_4x']) == 2
    assert 'did you mean odconv_resnet18_4x' in capsys.readouterr().err
    assert cli.main(['summary', 'resnet8', '--num-classes', '-1']) == 2
    assert 'num_classes must be an integer >= 0, got -1' in capsys.readouterr().err
    for size in ('0', 'many'):
        with pytest.raises(SystemExit) as stopped:
            cli.main(['summary', 'resnet8', '--image-size', size])
        assert stopped.value.code == 2
        assert f"expected an integer >= 1, got '{size}'" in capsys.readouterr().err


def test_further_fields(capsys):
    assert cli.main(['summary', 'resnet50', '--arguments', '{"stride_in_1x1": true}', '--json']) == 0
    assert json.loads(capsys.readouterr().out)['multiply_adds'] == pytest.approx(3.858e9, rel=1e-3)
    assert cli.main(['summary', 'resnet50', '--arguments', '{"strides": 1}']) == 2
    assert "--arguments: a ResNet has no field 'strides'" in capsys.readouterr().err
    for text in ('[1]', 'no'):
        with pytest.raises(SystemExit):
            cli.main(['summary', 'resnet50', '--arguments', text])
        assert 'expected a JSON object' in capsys.readouterr().err
