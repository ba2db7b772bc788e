"""The marks on synthetic rows: each passes at its limit, falls short beyond it, and says when nothing was measured."""

import pytest

from flax_dynconv.bench import marks, tables
from tests.bench.rows import add, results


def verdicts(found, part):
    chosen = [m for m in marks.marks(found) if part in m.goal]
    assert chosen, part
    return {m.verdict for m in chosen}


def test_nothing_measured():
    assert {m.verdict for m in marks.marks(results())} == {'not measured'}


@pytest.mark.parametrize(
    ('part', 'direction', 'limit'),
    [
        ('dense, forward and gradient: geometric mean <= 0.9 of PyTorch', 'gradient', 0.9),
        ('dense, forward and gradient: geometric mean <= 1.15 of static', 'gradient', 1.15),
        ('dense, forward: geometric mean <= 1.0 of PyTorch', 'forward', 1.0),
        ('dense, forward: geometric mean <= 1.2 of static', 'forward', 1.2),
    ],
)
def test_geometric_means_of_both_batches(part, direction, limit):
    for own, expected in ((limit, 'pass'), (1.01 * limit, 'short')):
        found = results()
        # Two cells whose mean is `own`; with batch 8 far below.
        for batch, factor in ((8, 0.1), (32, 1.0)):
            for cell, spread in (('a', 0.5), ('b', 2.0)):
                times = {'chosen': own * factor * spread, 'static': 1.0, 'torch_grouped': 1.0}
                add(found, cell, batch, direction=direction, **times)
        assert verdicts(found, part) == {expected}


def test_depthwise_small_and_single_batches_are_no_dense_cells():
    found = add(results(), 'a', 8, 'depthwise', 'forward', chosen=9.0, static=1.0, torch_grouped=1.0)
    add(found, 'b', 1, 'dense', 'forward', chosen=9.0, static=1.0, torch_grouped=1.0)
    add(found, 'c', 8, 'dense', 'forward', facts={'positions': 195}, chosen=9.0, static=1.0)
    assert verdicts(found, 'dense, forward: ') == {'not measured'}


def test_the_worst_cell():
    found = add(results(), 'a', 8, chosen=1.0, static=1.0)
    add(found, 'b', 8, chosen=1.71, static=1.0)
    mark = next(m for m in marks.marks(found) if 'no cell above 1.7' in m.goal)
    assert (mark.verdict, mark.figure) == ('short', 'b B=8 1.71; 1 of 2 parts not measured')


def test_vmap_counts_3x3_and_a_run_that_was_broken_off_at_its_time():
    part = '3x3 >= 15 times faster than vmap'
    found = add(results(), 'a', 8, chosen=1.0, reference=15.0)
    add(found, 'b', 8, facts={'kernel_size': [1, 1]}, chosen=1.0, reference=2.0)
    add(found, 'a', 32, chosen=1.0, reference={'at_least': 15.0})
    assert verdicts(found, part) == {'pass'}
    add(found, 'c', 32, chosen=1.0, reference={'at_least': 14.0})
    assert verdicts(found, part) == {'short'}


@pytest.mark.parametrize('outcome', [{'at_least': 1.0}, {'left_out': 'ValueError: no'}])
def test_a_choice_that_failed_or_was_broken_off_passes_nothing(outcome):
    found = add(results(), 'a', 8, chosen=outcome, static=100.0)
    add(found, 'b', 8, chosen=0.1, static=100.0)
    assert verdicts(found, 'geometric mean <= 1.15 of static') == {'short'}


def test_a_cell_that_failed_is_a_mark_that_is_missed():
    found = add(results(), 'a', 8, 'failed')
    assert [(m.figure, m.verdict) for m in marks.marks(found) if m.goal == 'no cell fails'] == [('a B=8', 'short')]


def test_the_fastest_of_pytorchs_forms_is_the_peer():
    found = add(results(), 'a', 8, chosen=1.0, torch_grouped=2.0, torch_official=0.5)
    assert verdicts(found, 'gradient: geometric mean <= 0.9 of PyTorch') == {'short'}


def test_odconv_over_the_plain_mixture_of_its_arrays():
    scales = {'scales': ['input_scale', 'output_scale', 'tap_scale']}
    for own, expected in ((1.15, 'pass'), (1.2, 'short')):
        found = add(results(), 'odconv4x_7x7', 8, facts=scales, chosen=own, plain=1.0)
        add(found, 'odconv4x_7x7', 8, direction='forward', chosen=1.0, plain=1.0)
        add(found, 'odconv4x_14x14', 8, facts=scales, chosen=0.1, plain=1.0)
        add(found, 'resnet18_7x7', 8, chosen=50.0)
        assert verdicts(found, 'plain mixture, forward and gradient') == {expected}


def test_a_mark_of_which_a_part_was_not_measured_does_not_pass():
    found = add(results(), 'a', 8, chosen=0.1, static=1.0)
    (mark,) = (m for m in marks.marks(found) if 'gradient: geometric mean <= 1.15 of static' in m.goal)
    assert (mark.verdict, mark.figure) == ('not measured', 'B=8 (1 cells) 0.10; 1 of 2 parts not measured')
    found = add(found, 'b', 8, chosen=100.0, static=1.0)
    assert verdicts(found, 'gradient: geometric mean <= 1.15 of static') == {'short'}


def test_per_pixel_every_cell_both_directions():
    times = {'chosen': 1.0, 'torch_unfold': 1.5, 'xla_unfold': 5.0}
    facts = {'x_bytes': 100, 'operand_bytes': 150}
    found = add(results(), 'a', 1, 'per_position', 'forward', temp=200, facts=facts, **times)
    add(found, 'a', 1, 'per_position', 'gradient', temp=200, **times)
    title = 'kernels per position: '
    assert verdicts(found, title) == {'pass'}
    add(found, 'b', 32, 'depthwise', 'gradient', temp=201, facts=facts, chosen=1.0, torch_grouped=1.0, xla_unfold=4.9)
    assert verdicts(found, title) == {'short'}


def test_head():
    found = add(results(), 'condinst_head', 1, 'head', 'forward', chosen=0.010, torch_grouped=0.011)
    add(found, 'condinst_head', 1, 'head', 'gradient', chosen=0.010, torch_grouped=0.011)
    assert verdicts(found, 'CondInst head') == {'pass'}
    found = add(results(), 'condinst_head', 1, 'head', 'forward', chosen=0.011, torch_grouped=0.011)
    assert verdicts(found, 'CondInst head') == {'short'}


def test_compile_time():
    for seconds, expected in ((1.2, 'pass'), (1.3, 'short')):
        found = add(results(), 'a', 8, chosen=1.0)
        add(found, 'a', 32, compile_seconds=seconds, chosen=1.0)
        assert verdicts(found, 'compile time') == {expected}


def test_networks():
    part, facts = 'training step', {'mixed_kernel_bytes': 50}
    found = add(results(), 'n', 16, 'network', 'train', temp=200, facts=facts, chosen=0.9, torch_grouped=1.0)
    add(found, 'n', 16, 'network', 'train', temp=100, static=0.72)
    assert verdicts(found, part) == {'pass'}
    add(found, 'm', 16, 'network', 'train', temp=201, facts=facts, chosen=1.0, torch_grouped=1.0)
    add(found, 'm', 16, 'network', 'train', temp=100, static=0.79)
    assert verdicts(found, part) == {'short'}


def test_the_goal_is_of_the_plain_twin_and_the_other_twin_stands_beside_it():
    found = add(results(), 'n', 16, 'network', 'train', chosen=1.0, static=0.9, library_twin=0.5)
    (mark,) = (m for m in marks.marks(found) if 'training step: <= 1.25 of the static twin in plain nn.Conv' in m.goal)
    assert mark.verdict == 'pass'
    assert mark.figure == "n 1.11; of the twin with this library's depthwise convolutions: n 2.00"


def test_report_is_markdown_with_a_line_per_mark():
    found = add(results(), 'a', 8, chosen=0.001, static=0.002, torch_grouped=0.004, reference=0.03, patches=0.5)
    found.rows.append({'cell': 'a', 'batch': 8, 'direction': 'gradient', 'program': 'grouped', 'left_out': 'too big'})
    text = tables.report(found)
    row = next(line for line in text.splitlines() if line.startswith('| a | 8 |'))
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    assert cells[3:9] == ['loop', '1', '', '0.50', '0.25', '30.00']
    assert '| a | 8 | loop: 1 | 30 | 500 | left out |' in text.replace('| 4 |', '|')
    assert '* a B=8: grouped (gradient): too big' in text
    assert all(f'| {m.goal} | {m.figure} | {m.verdict} |' in text for m in marks.marks(found))
