"""The command `flax-dynconv convert`: a file of PyTorch weights to Flax variables, or back."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from flax_dynconv.convert.api import get_reference, to_torch
from flax_dynconv.convert.conversion import convert_checkpoint
from flax_dynconv.convert.engine import flatten
from flax_dynconv.convert.errors import CaseError, ConversionError
from flax_dynconv.convert.weight_files import SUFFIXES, check_suffix, is_flax, load_weights, nested, save_weights

DONE, UNUSABLE = 0, 2
_LISTED = 10
# Constructors take numbers, text and lists of those.
_NESTED = 8
_SHOWN = 80


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add `convert IN OUT --reference ID [--arguments JSON] [--ema | --no-ema] [--json]` to a command's subparsers."""
    parser = subparsers.add_parser(
        'convert',
        help='convert a file of weights from PyTorch to Flax or back',
        description="Convert PyTorch's weights to Flax variables; a file of Flax variables (keys 'params/...') becomes "
        f"a PyTorch state_dict. Formats by suffix: {', '.join(SUFFIXES)} (PyTorch's own need torch). "
        'Exit status: 0 written, 2 nothing written.',
    )
    parser.add_argument('input', metavar='IN', help='the file to read; its content decides the direction')
    parser.add_argument('output', metavar='OUT', help='the file to write')
    parser.add_argument(
        '--reference', metavar='ID', required=True, help='the PyTorch module, such as odconv.od_resnet18'
    )
    parser.add_argument(
        '--arguments',
        metavar='JSON',
        default='{}',
        help="its constructor's arguments as a JSON object, or @FILE with one (default: the constructor's own)",
    )
    parser.add_argument(
        '--ema',
        action=argparse.BooleanOptionalAction,
        help='demand the EMA copy of the weights, or take the ordinary ones (default: the EMA copy if there is one)',
    )
    parser.add_argument('--json', action='store_true', help='print the summary as one JSON object')
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Convert, write and print one line; the exit status is 0, or 2 if nothing could be written."""
    try:
        summary = convert_file(args.input, args.output, args.reference, _arguments(args.arguments), ema=args.ema)
    except (ConversionError, CaseError, ImportError, OSError, MemoryError) as error:
        text = _one_line(_as_typed(str(error) or 'not enough memory'))
        if args.json:
            print(json.dumps({'ok': False, 'error': text}))
        print(f'error: {text}', file=sys.stderr)
        return UNUSABLE
    print(json.dumps(summary) if args.json else _sentence(summary))
    return DONE


def convert_file(
    source: str, target: str, reference: str, arguments: dict[str, Any], *, ema: bool | None = None
) -> dict[str, Any]:
    """Read `source`, write `target`, and say what was done as plain values.

    Raises ConversionError, CaseError, ImportError or OSError; then nothing was written.
    """
    source, target = Path(source), Path(target)
    record = get_reference(reference)
    check_suffix(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise CaseError(f'{target}: would be written over the input')
    table = load_weights(source)
    try:
        if is_flax(table):
            if ema is not None:
                raise ConversionError('--ema and --no-ema: the file holds Flax variables, which have no EMA copy')
            direction, unwrapped, taken = 'to_torch', '', False
            leaves = flatten(nested(source, table))
            arrays = to_torch(reference, traverse_util.unflatten_dict(leaves, sep='/'), arguments)
        else:
            converted = convert_checkpoint(reference, record, table, arguments, ema=ema)
            direction, unwrapped, taken = 'to_flax', str(converted.source), converted.source.averaged
            leaves = arrays = converted.leaves
    except ConversionError as error:
        raise ConversionError(f'{source}: {error}') from error
    save_weights(target, arrays, framework='pt' if direction == 'to_torch' else 'flax')
    return {
        'ok': True,
        'direction': direction,
        'reference': reference,
        'unwrapped': unwrapped,
        'ema': taken,
        'arrays': len(arrays),
        'parameters': sum(int(np.size(leaf)) for path, leaf in leaves.items() if path.startswith('params/')),
        'temperatures': sorted({float(leaf) for path, leaf in leaves.items() if path.startswith('temperature/')}),
        'output': str(target),
    }


def _arguments(text):
    try:
        if text.startswith('@'):
            text = Path(text[1:]).read_text(encoding='utf-8')
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f'--arguments: expected a JSON object, got {_short(text)}: {error}') from error
    if not isinstance(arguments, dict) or _depth(arguments) > _NESTED:
        flat = ' of plain values' if isinstance(arguments, dict) else ''
        raise ConversionError(f'--arguments: expected a JSON object{flat}, got {_short(text)}')
    return arguments


def _depth(value):
    """How deep lists and tables lie in each other, without recursion: JSON may nest deeper than Python calls."""
    depth, level = 0, [value]
    while level := [x for x in level if isinstance(x, list | dict)]:
        depth += 1
        level = [inner for x in level for inner in (x.values() if isinstance(x, dict) else x)]
    return depth


def _short(text):
    return repr(text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...')


def _as_typed(text):
    """Errors name the argument `ema` of Python; here it is an option."""
    return text.replace('ema=True', '--ema').replace('ema=False', '--no-ema')


def _sentence(summary):
    to_torch = summary['direction'] == 'to_torch'
    parts = [f'{summary["reference"]}: {"Flax -> PyTorch" if to_torch else "PyTorch -> Flax"}']
    parts += [f'from {summary["unwrapped"]}'] if summary['unwrapped'] else []
    parts += [f'{summary["arrays"]} arrays', f'{summary["parameters"]:,} parameters', f'written to {summary["output"]}']
    if to_torch and any(value != 1 for value in summary['temperatures']):
        parts += [f'temperature {summary["temperatures"]} left out, a state_dict has none']
    return ', '.join(parts)


def _one_line(text):
    """A list of problems as one line of the first ones."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    more = [f'and {len(lines) - 1 - _LISTED} more'] if len(lines) > 1 + _LISTED else []
    head = lines[:1]
    return ' '.join([*head, '; '.join([*lines[1 : 1 + _LISTED], *more])]).strip()
