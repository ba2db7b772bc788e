"""CPU, measured.

JAX 0.10.2 on two cores with AVX-512 (Zen 5, 1 MB of L2 each, 32 MB of L3), float32. Made by
`flax-dynconv bench --suite ops --json RESULTS` and `flax-dynconv bench --calibrate RESULTS`, which prints this file.
"""

SECONDS = {
    'conv': 5e-12,
    'conv_gradient': 6.5e-12,
    'matmul': 5e-12,
    'matmul_gradient': 6e-12,
    'grouped': 6e-11,
    'grouped_gradient': 1e-10,
    'sample_conv': 5e-12,
    'sample_matmul': 6e-12,
    'product': 5e-12,
    'narrow': 3e-11,
    'vmap': 5e-11,
    'vmap_gradient': 6e-11,
    'taps': 2e-11,
    'taps_gradient': 4e-11,
    'mixing': 6e-12,
    'bank': 1e-10,
    'kernels': 1e-10,
    'patches': 3e-10,
    'deposit': 3e-10,
    'columns': 3e-11,
    'elements': 1e-10,
    'fresh': 1e-10,
    'steps': 1e-05,
    'call': 3e-05,
}
