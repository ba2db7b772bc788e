"""The curves: what is drawn, when, and after a resume."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from flax_dynconv.training.monitoring import curves
from flax_dynconv.training.monitoring.curves import Curves, draw
from flax_dynconv.training.monitoring.json_lines import JsonLines
from tests.training.monitoring import told


@pytest.fixture
def figure(monkeypatch):
    """The last figure that was saved, as {title: {label: (x, y)}}."""
    shown = {}

    def keep(self, path, **options):
        shown.clear()
        for axis in self.axes:
            if axis.get_title():
                shown[axis.get_title()] = {line.get_label(): [*line.get_data()] for line in axis.lines}
        path.write_bytes(b'drawn')

    monkeypatch.setattr(Figure, 'savefig', keep)
    return shown


def test_a_picture_is_written(tmp_path):
    draw(tmp_path / 'curves.png', {'dynamic': [told.record(e) for e in (1, 2, 3)]}, 'accuracy')
    image = matplotlib.image.imread(tmp_path / 'curves.png')
    assert image.shape[0] > 600
    assert image.shape[1] > 1400
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 100
    assert [path.name for path in tmp_path.iterdir()] == ['curves.png']


def test_every_figure_is_drawn_with_its_values(tmp_path, figure):
    static = [told.record(e) for e in (1, 2)]
    for record in static:
        del record['attention_entropy']
    draw(tmp_path / 'x.png', {'dynamic': [told.record(e) for e in (1, 2, 3)], 'static': static}, 'accuracy')
    assert len(figure) == 7
    both = {f'{role}, {split}' for role in ('dynamic', 'static') for split in ('train', 'test')}
    assert set(figure['Loss']) == set(figure['Error (100 % - accuracy)']) == both
    np.testing.assert_allclose(figure['Loss']['dynamic, test'], [[1, 2, 3], [2.5, 1.25, 2.5 / 3]])
    np.testing.assert_allclose(figure['Error (100 % - accuracy)']['static, test'], [[1, 2], [75, 37.5]])
    panels = {name: title for name, title, _ in curves._PANELS}
    for name in ('learning_rate', 'temperature', 'attention_entropy', 'gradient_norm', 'images_per_second'):
        expected = [[1, 2, 3], [told.record(e)[name] for e in (1, 2, 3)]]
        np.testing.assert_allclose(figure[panels[name]]['dynamic'], expected)
    assert set(figure[panels['attention_entropy']]) == {'dynamic'}


def test_a_figure_that_nobody_has_gets_no_panel(tmp_path, figure):
    record = told.record(1)
    del record['attention_entropy']
    draw(tmp_path / 'x.png', {'static': [record], 'dynamic': []}, 'accuracy')
    assert len(figure) == 6
    assert not any('entropy' in title for title in figure)


def test_values_that_are_no_numbers_are_gaps(tmp_path):
    records = [told.record(1), told.record(2, train={'loss': 'nan', 'accuracy': 0.5}, gradient_norm='inf')]
    draw(tmp_path / 'x.png', {'static': records}, 'accuracy')
    assert (tmp_path / 'x.png').stat().st_size > 10_000


@pytest.mark.parametrize('checkpoint', [0, 4, 6, 8, 12])
def test_a_resumed_run_shows_all_epochs(tmp_path, figure, checkpoint):
    log = tmp_path / 'log.jsonl'
    told.tell(JsonLines(log))  # the network before
    told.tell(JsonLines(log), 'static', stop=max(9, checkpoint))
    with JsonLines(log) as lines, Curves(tmp_path / 'x.png', 'accuracy', log) as picture:
        for observer in (picture, lines):  # whoever is told first
            told.tell(observer, 'static', start=checkpoint)
    if checkpoint < 12:
        for role in ('dynamic', 'static'):
            np.testing.assert_allclose(figure['Loss'][f'{role}, test'], [[1, 2, 3], [2.5, 1.25, 2.5 / 3]])
    else:
        assert not figure  # nothing new to draw


def test_epochs_after_the_checkpoint_are_forgotten(tmp_path, figure):
    log = tmp_path / 'log.jsonl'
    told.tell(JsonLines(log))
    with Curves(tmp_path / 'x.png', 'accuracy', log) as picture:
        told.tell(picture, start=4, stop=8)
    np.testing.assert_allclose(figure['Loss']['dynamic, test'], [[1, 2], [2.5, 1.25]])


def test_drawing_waits_and_comes_at_the_end(tmp_path, figure):
    path = tmp_path / 'x.png'
    picture = Curves(path, 'accuracy', tmp_path / 'log.jsonl', seconds=1e9)
    told.tell(picture)
    assert len(figure['Loss']['dynamic, test'][0]) == 1
    picture.closed()
    assert len(figure['Loss']['dynamic, test'][0]) == 3
    path.unlink()
    picture.closed()
    assert not path.exists()
    eager = Curves(path, 'accuracy', tmp_path / 'log.jsonl', seconds=0)
    told.tell(eager)
    assert len(figure['Loss']['dynamic, test'][0]) == 3
