"""Imports point down only, and `import flax_dynconv` stays light."""

import ast
import pathlib
import subprocess
import sys

import flax_dynconv

PACKAGE = pathlib.Path(flax_dynconv.__file__).parent
# What a module of each part may import; every part may import itself.
ALLOWED = {
    'ops': {'ops'},
    'layers': {'layers', 'ops'},
    'models': {'models', 'layers', 'ops'},
    'convert': {'convert', 'models', 'layers', 'ops'},
    'training': {'training', 'models', 'layers', 'ops'},
    'bench': {'bench', 'models', 'layers', 'ops'},
    'commands': {'commands', 'training', 'convert', 'models', 'layers', 'ops'},
}


def imported_parts(path):
    """The parts of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names = [node.module, *(f'{node.module}.{alias.name}' for alias in node.names)]
        for name in names:
            parts = name.split('.')
            if parts[0] == 'flax_dynconv' and len(parts) > 1 and (PACKAGE / parts[1]).is_dir():
                yield parts[1]


def test_imports_point_down():
    checked = 0
    for part, allowed in ALLOWED.items():
        for path in (PACKAGE / part).rglob('*.py'):
            assert set(imported_parts(path)) <= allowed, path
            checked += 1
    assert checked > 30


def test_ops_import_no_flax():
    for path in (PACKAGE / 'ops').rglob('*.py'):
        assert 'import flax.' not in path.read_text() and 'from flax ' not in path.read_text(), path


def test_import_is_light():
    code = """
import sys
import jax, flax.linen
before = set(sys.modules)
import flax_dynconv
import flax_dynconv.cli
new = {m.split('.')[0] for m in set(sys.modules) - before}
heavy = {'torch', 'orbax', 'grain', 'matplotlib', 'sklearn', 'tensorflow', 'tyro', 'PIL', 'scipy', 'rich'}
heavy |= {'pycocotools'}
print(sorted(new & heavy))
"""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'
