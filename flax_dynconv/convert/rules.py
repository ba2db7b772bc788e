"""Rules: pairs of key templates with an invertible transform, compiled to regular expressions on both sides."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from flax_dynconv.convert.transforms import Transform

_FIELD = re.compile(r'\{(\w+)(?::([^{}]*))?\}')
_NUMBER = r'\d+'


def _fields(template):
    return {name: pattern for name, pattern in _FIELD.findall(template)}


def _compile(template, patterns):
    """The regular expression of a template; a field that appears twice must have the same text twice."""
    parts, end, seen = [], 0, set()
    for match in _FIELD.finditer(template):
        name = match.group(1)
        parts.append(re.escape(template[end : match.start()]))
        parts.append(f'(?P={name})' if name in seen else f'(?P<{name}>{patterns[name]})')
        seen.add(name)
        end = match.end()
    return re.compile(''.join(parts) + re.escape(template[end:]))


def _fill(template, values):
    return _FIELD.sub(lambda match: values[match.group(1)], template)


class Rule(NamedTuple):
    r"""A PyTorch key template, the Flax path template it corresponds to, and the transform of the array.

    `{name}` stands for a whole number and `{name:pattern}` for the regular expression `pattern`; both templates have
    the same fields. A Flax path is `collection/module/.../leaf`.

    >>> from flax_dynconv.convert.transforms import conv_kernel
    >>> rule = Rule('layer{s}.{b}.conv{i}.weight', 'params/layer{s}_{b}/conv{i}/kernel', conv_kernel)
    >>> RuleTable([rule]).to_flax('layer1.0.conv2.weight')[0]
    'params/layer1_0/conv2/kernel'
    """

    torch: str
    flax: str
    transform: Transform

    def mount(self, torch_prefix: str, flax_prefix: str) -> 'Rule':
        """This rule one level down: under `torch_prefix.` in PyTorch and under `flax_prefix/` in each collection."""
        collection, rest = self.flax.split('/', 1)
        return Rule(f'{torch_prefix}.{self.torch}', f'{collection}/{flax_prefix}/{rest}', self.transform)


def mount(rules: Iterable[Rule], torch_prefix: str, flax_prefix: str) -> tuple[Rule, ...]:
    """The table of a layer as it appears inside a network.

    >>> from flax_dynconv.convert.transforms import conv_kernel
    >>> mount([Rule('weight', 'params/kernel', conv_kernel)], 'layer{s}.{b}.conv{i}', 'layer{s}_{b}/conv{i}')[0].torch
    'layer{s}.{b}.conv{i}.weight'
    """
    return tuple(rule.mount(torch_prefix, flax_prefix) for rule in rules)


class Names:
    """A two-way map of names given by pairs of templates; at most one pair may match a name.

    Raises ValueError for templates whose fields differ, and for a name that two pairs match.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]):
        self.pairs = tuple((torch, flax) for torch, flax in pairs)
        self._torch, self._flax = [], []
        for torch, flax in self.pairs:
            left, right = _fields(torch), _fields(flax)
            if left.keys() != right.keys():
                raise ValueError(f'templates {torch!r} and {flax!r} must have the same fields, got {left} and {right}')
            patterns = {name: left[name] or right[name] or _NUMBER for name in left}
            self._torch.append(_compile(torch, patterns))
            self._flax.append(_compile(flax, patterns))

    def _map(self, name, sources, targets):
        found = [(i, match) for i, source in enumerate(sources) if (match := source.fullmatch(name))]
        if len(found) > 1:
            raise ValueError(f'{name!r} matches several templates: {[self.pairs[i] for i, _ in found]}')
        if not found:
            return None
        index, match = found[0]
        return _fill(self.pairs[index][targets], match.groupdict()), index

    def to_flax(self, name: str) -> tuple[str, int] | None:
        """The Flax name of a PyTorch name and the index of the pair that says so, or None."""
        return self._map(name, self._torch, 1)

    def to_torch(self, name: str) -> tuple[str, int] | None:
        """The PyTorch name of a Flax name and the index of the pair that says so, or None."""
        return self._map(name, self._flax, 0)


class RuleTable:
    """Rules that serve both directions.

    >>> from flax_dynconv.convert.transforms import conv_kernel
    >>> table = RuleTable([Rule('weight', 'params/kernel', conv_kernel)])
    >>> table.to_torch('params/kernel')[0], table.to_flax('bias')
    ('weight', None)
    """

    def __init__(self, rules: Iterable[Rule]):
        self.rules = tuple(rules)
        self._names = Names((rule.torch, rule.flax) for rule in self.rules)

    def _with_transform(self, found):
        return found and (found[0], self.rules[found[1]].transform)

    def to_flax(self, key: str) -> tuple[str, Transform] | None:
        """The Flax path of a PyTorch key and the transform of its array, or None."""
        return self._with_transform(self._names.to_flax(key))

    def to_torch(self, path: str) -> tuple[str, Transform] | None:
        """The PyTorch key of a Flax path and the transform of its array, or None."""
        return self._with_transform(self._names.to_torch(path))
