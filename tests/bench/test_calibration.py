"""Constants from measured times: known ones are found again, and bad choices are told."""

import numpy as np
import pytest

from flax_dynconv.bench import calibration
from flax_dynconv.bench.calibration import Measured
from flax_dynconv.bench.results import Results
from flax_dynconv.ops.choice import choosing
from flax_dynconv.ops.choice.work import KINDS


def row(form, seconds, work, cell='cell', direction='gradient', candidate=True, apart=False):
    return Measured(cell, 8, direction, form, work, seconds, candidate, apart)


def test_constants_are_found_again():
    generator = np.random.default_rng(0)
    true = {kind: 10.0 ** generator.uniform(-10.5, -10) for kind in KINDS}
    start = {kind: seconds * 10 ** generator.uniform(-1, 1) for kind, seconds in true.items()}
    rows = []
    for i in range(600):
        work = {kind: 10 ** generator.uniform(8, 9) for kind in generator.choice(KINDS[:-1], 4, replace=False)}
        rows.append(row('loop', calibration.predicted(work, true), work, cell=str(i)))
    fitted = calibration.fit(rows, start)
    for kind in KINDS[:-1]:
        assert fitted[kind] == pytest.approx(true[kind], rel=0.05)
    # What no time depends on stays as it was.
    assert fitted[KINDS[-1]] == start[KINDS[-1]]


def test_a_constant_is_never_negative():
    rows = [row('loop', 1e-3, {'conv': 1e9}), row('blocks', 1e-4, {'conv': 1e9, 'steps': 9}, cell='other')]
    assert min(calibration.fit(rows, choosing.CONSTANTS['cpu']).values()) >= 0


def test_regret_is_that_of_the_predicted_gradient_among_candidates():
    constants = dict.fromkeys(KINDS, 1e-9)
    rows = [
        row('loop', 2.0, {'conv': 1}),
        row('blocks', 1.0, {'conv': 2}),
        row('grouped', 0.1, {'conv': 3}, candidate=False),
        row('loop', 3.0, {'conv': 9}, direction='forward'),
        row('blocks', 6.0, {'conv': 2}, direction='forward'),
    ]
    assert calibration.regrets(rows, constants) == [('cell', 8, 'loop', 'blocks', 2.0)]
    assert calibration.regrets(rows, constants, 'forward') == [('cell', 8, 'loop', 'loop', 1.0)]


def test_regret_of_two_passes_is_that_of_each_by_itself():
    constants = dict.fromkeys(KINDS, 1.0)
    told = {'loop': (1, 1.0, 9, 9.0), 'blocks': (3, 2.0, 6, 5.0), 'patches': (2, 0.5, 7, 9.0)}
    rows = []
    for form, (forward, seconds, both, together) in told.items():
        rows.append(row(form, seconds, {'conv': forward}, direction='forward', apart=True))
        rows.append(row(form, together, {'conv': both}, apart=True))
    # Forward loop (1.0) where patches (0.5) is faster; backward blocks (3.0), which is the fastest.
    assert calibration.regrets(rows, constants, 'forward') == [('cell', 8, 'loop', 'patches', 2.0)]
    assert calibration.regrets(rows, constants) == [('cell', 8, 'loop, blocks', 'blocks', 4.0 / 5.0)]


def test_a_constant_that_was_fitted_to_nothing_rises_again():
    rows = [row('loop', 1e-5 * n + 1e-12 * 1e6, {'steps': n, 'conv': 1e6}, cell=str(n)) for n in (10, 100, 1000)]
    # Ten times what it begins with: what is left of that is the prior's, of three times alone.
    fitted = calibration.fit(rows, dict.fromkeys(KINDS, 1e-12) | {'steps': 0.0})
    assert fitted['steps'] == pytest.approx(1e-5, rel=0.1)


def test_the_file_of_constants_and_the_report_of_a_run():
    header = {
        'dtype': 'float32',
        'machine': {'processor': 'Some CPU', 'cores': 3},
        'jax': {'version': '0.0', 'platform': 'cpu'},
    }
    run = Results(header, [{'cell': 'resnet18_7x7', 'batch': 8, 'form': 'blocks'}])
    for direction, program, seconds in [
        ('gradient', 'chosen', 3e-2),
        ('gradient', 'loop', 9e-2),
        ('gradient', 'taps', 1e-3),
        ('forward', 'chosen', 1e-2),
    ]:
        run.rows.append(
            {
                'suite': 'ops',
                'cell': 'resnet18_7x7',
                'batch': 8,
                'direction': direction,
                'program': program,
                'framework': 'jax',
                'median': seconds,
            }
        )
    text, quality = calibration.report([run])
    scope = {}
    exec(text, scope)
    assert tuple(scope['SECONDS']) == KINDS and 'Some CPU, 3 cores, JAX 0.0' in scope['__doc__']
    assert '1 calls: the choice takes 1.000 times as long' in quality and '| blocks | gradient | 1 |' in quality


def test_results_without_forms_are_refused():
    header = {'jax': {'platform': 'cpu'}}
    with pytest.raises(ValueError, match='--calibrate: expected results of the suite ops'):
        calibration.report([Results(header)])
    with pytest.raises(ValueError, match='--calibrate: expected results of the suite ops'):
        calibration.report([Results(header, [{'cell': 'odconv_resnet18_4x', 'batch': 16}])])
    with pytest.raises(ValueError, match=r"--calibrate: expected results of one platform, got \['cpu', 'tpu'\]"):
        calibration.report([Results(header), Results({'jax': {'platform': 'tpu'}})])
