"""Small PyTorch modules with the parameters, the key names and the arithmetic of the references, for live checks.

Importing this package without PyTorch skips the test module that does so.
"""

import pytest

torch = pytest.importorskip('torch', reason='compares with live PyTorch modules')
