"""Seconds for each unit of work, measured on this machine.

AMD EPYC, 2 cores, JAX 0.10.2, float32.
Made by `flax-dynconv bench --suite ops --json RESULTS` and `flax-dynconv bench --calibrate RESULTS`.
"""

SECONDS = {
    'conv': 4.31e-12,
    'conv_gradient': 5.34e-12,
    'pointwise': 5.89e-12,
    'pointwise_gradient': 1.18e-11,
    'grouped': 8.19e-10,
    'grouped_gradient': 5.26e-10,
    'sample_conv': 6.48e-12,
    'sample_pointwise': 8.94e-12,
    'matmul': 4.66e-12,
    'product': 5.84e-12,
    'narrow': 1.08e-10,
    'vmap': 5e-11,
    'vmap_gradient': 6e-11,
    'taps': 5.28e-11,
    'taps_gradient': 1.01e-10,
    'mixing': 3.35e-11,
    'bank': 3.43e-11,
    'kernels': 1.33e-11,
    'patches': 4.01e-11,
    'deposit': 1.25e-10,
    'columns': 7.39e-11,
    'elements': 5.13e-11,
    'fresh': 6.35e-10,
    'steps': 0,
    'call': 1e-15,
}
