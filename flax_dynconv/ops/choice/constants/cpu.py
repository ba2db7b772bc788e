"""Seconds for each unit of work, measured on this machine.

AMD EPYC, 2 cores, JAX 0.10.2, float32.
Made by `flax-dynconv bench --suite ops --json RESULTS` and `flax-dynconv bench --calibrate RESULTS`.
"""

SECONDS = {
    'conv': 4.25e-12,
    'conv_gradient': 5.34e-12,
    'pointwise': 4.45e-12,
    'pointwise_gradient': 8.46e-12,
    'grouped': 1.99e-10,
    'grouped_gradient': 1.08e-10,
    'sample_conv': 5.46e-12,
    'sample_pointwise': 7.03e-12,
    'matmul': 4.22e-12,
    'product': 5.05e-12,
    'narrow': 6.51e-11,
    'vmap': 5e-11,
    'vmap_gradient': 6e-11,
    'taps': 2.28e-11,
    'taps_gradient': 5.5e-11,
    'mixing': 1.98e-11,
    'bank': 3.2e-11,
    'kernels': 1.93e-11,
    'patches': 1.95e-11,
    'deposit': 9.74e-11,
    'columns': 4.17e-11,
    'elements': 6.63e-11,
    'fresh': 4.57e-10,
    'steps': 8.31e-06,
    'call': 0,
}
