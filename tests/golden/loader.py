"""Golden files as reference cases."""

import json
from pathlib import Path

import numpy as np

from flax_dynconv.convert import Case
from tests.golden import fill

CASES = Path(__file__).parent / 'cases'


class Golden:
    """One golden file: numbers in PyTorch's layout, weights and inputs regenerated from their names."""

    def __init__(self, name):
        with np.load(CASES / f'{name}.npz', allow_pickle=False) as archive:
            self.arrays = {key: archive[key] for key in archive.files if key != 'meta'}
            self.meta = json.loads(str(archive['meta']))
        fan, gain, prefix = self.meta['fan'], self.meta['gain'], self.meta.get('prefix', '')
        self.state = {k: fill.tensor(prefix + k, tuple(s), fan.get(k), gain.get(k, 1.0)) for k, s in self.meta['state']}
        self.state |= {k: np.array(values) for k, values in self.meta.get('fixed', {}).items()}
        self.inputs = {name: self._input(name, tuple(shape), kind) for name, shape, kind in self.meta['inputs']}
        self.outputs = tuple(self.meta['outputs'])
        self.cotangents = tuple(self._cotangent(name, tuple(shape)) for name, shape in self.meta['outputs'].items())

    def _input(self, name, shape, kind):
        return self.arrays[f'in.{name}'] if kind == 'stored' else fill.array(name, shape, kind)

    def _cotangent(self, name, shape):
        taken = name in self.meta.get('differentiated', self.outputs)
        return fill.array(f'cotangent.{name}', shape) if taken else np.zeros(shape, np.float32)

    @property
    def cotangent(self):
        """That of the only output."""
        (cotangent,) = self.cotangents
        return cotangent

    def case(self, mode):
        """The reference case of one mode, 'eval' or 'train'."""
        prefix, state = _prefix(mode), 'train.state.'
        after = {k.removeprefix(state): a for k, a in self.arrays.items() if k.startswith(state)}
        return Case(
            reference=self.meta['reference'],
            arguments=self.meta['arguments'],
            state_dict=self.state,
            inputs=tuple(self.inputs.values()),
            outputs=tuple(self.arrays[prefix + name] for name in self.outputs),
            temperature=self.meta['temperature'],
            train=mode == 'train',
            state_after=after if mode == 'train' else {},
        )

    def gradients(self, mode):
        """Name of an input or key of the state_dict -> gradient of the sum over outputs of sum(output * cotangent)."""
        prefix = f'{_prefix(mode)}grad.'
        return {k.removeprefix(prefix): a for k, a in self.arrays.items() if k.startswith(prefix)}

    def bound(self, mode, name):
        """The absolute bound of a float32 run."""
        return self.meta['atol_f32'][_prefix(mode) + name]


def _prefix(mode):
    return 'train.' if mode == 'train' else ''


def names():
    """Every golden file of a reference, and its modes."""
    files = sorted(path.stem for path in CASES.glob('*.npz'))
    return [(name, mode) for name in files if (meta := Golden(name).meta)['reference'] for mode in meta['modes']]
