"""What tests of whole trainings share."""

import jax
import pytest

_OPTIONS = {'jax_persistent_cache_min_compile_time_secs': 0, 'jax_persistent_cache_min_entry_size_bytes': -1}


@pytest.fixture(scope='module')
def compiled_once(tmp_path_factory):
    """Within the module a program that was compiled before is read: trainings of the same network have the same."""
    from jax.experimental.compilation_cache import compilation_cache

    before = {name: getattr(jax.config, name) for name in _OPTIONS}
    for name, value in _OPTIONS.items():
        jax.config.update(name, value)
    jax.config.update('jax_compilation_cache_dir', str(tmp_path_factory.mktemp('programs')))
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    jax.config.update('jax_compilation_cache_dir', None)
    compilation_cache.reset_cache()


@pytest.fixture(scope='module')
def compiled_fast(compiled_once):
    """The same, without the optimisations that take most of the time: nothing here runs for long, or for comparison."""
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)
