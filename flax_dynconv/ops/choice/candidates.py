"""Which forms `implementation=None` may take on which platform.

None of them gathers a sharded batch: `grouped` and the `reference` of per-sample kernels do, and are there by name.
The platforms are those of `lax.platform_dependent`; 'default' is every other one, in practice a GPU.
"""

PLATFORMS = ('cpu', 'tpu', 'default')

# In the order in which a tie is decided.
_MIXTURE = ('taps', 'features_out', 'features_in', 'columns', 'patches', 'blocks', 'loop')
_PER_SAMPLE = ('taps', 'patches', 'loop')

CANDIDATES = {
    'mixture_conv': {
        'cpu': _MIXTURE,
        # A loop over blocks or taps is for a cache.
        'tpu': tuple(name for name in _MIXTURE if name not in ('blocks', 'columns')),
        'default': tuple(name for name in _MIXTURE if name not in ('blocks', 'columns')),
    },
    'per_sample_conv': dict.fromkeys(PLATFORMS, _PER_SAMPLE),
    'per_position_conv': dict.fromkeys(PLATFORMS, ('taps', 'patches')),
    'instance_head': dict.fromkeys(PLATFORMS, ('unrolled', 'products')),
}
