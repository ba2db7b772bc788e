"""The command `flax-dynconv`: each sub-command is a module with `add_parser(subparsers)` and `run(args)`."""

import argparse
import contextlib
import importlib
import sys
import warnings
from pathlib import Path

COMMANDS = {
    'train': 'flax_dynconv.training.train_cli',
    'recipes': 'flax_dynconv.training.recipes_cli',
    'evaluate': 'flax_dynconv.commands.evaluate',
    'predict': 'flax_dynconv.commands.predict',
    'verify': 'flax_dynconv.convert.verify_cli',
    'models': 'flax_dynconv.models.models_cli',
    'summary': 'flax_dynconv.models.summary_cli',
    'convert': 'flax_dynconv.convert.convert_cli',
    'bench': 'flax_dynconv.bench.bench_cli',
}

# What a user can mend: said in one line, without a traceback.
_EXPECTED = (ValueError, OSError, ImportError, ArithmeticError)


def main(arguments=None):
    """Run one sub-command; returns its exit code, 2 for arguments or an environment that it cannot work with."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog='flax-dynconv', description='Dynamic convolutions for JAX.')
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='{' + ','.join(COMMANDS) + '}')
    # Only the module of the command at hand is imported; help and mistakes need them all.
    names = arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS
    modules = {name: importlib.import_module(COMMANDS[name]) for name in names}
    for module in modules.values():
        module.add_parser(subparsers)
    args = parser.parse_args(arguments)
    with _warnings_in_a_line(args.command):
        try:
            return modules[args.command].run(args)
        except _EXPECTED as error:
            print(f'flax-dynconv {args.command}: error: {error}', file=sys.stderr)
            return 2


@contextlib.contextmanager
def _warnings_in_a_line(command):
    """This package's warnings are for users, who need no line of code with them; others stay as they are."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None):
            if Path(filename).is_relative_to(Path(__file__).parent):
                print(f'flax-dynconv {command}: warning: {message}', file=sys.stderr)
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


if __name__ == '__main__':
    sys.exit(main())
