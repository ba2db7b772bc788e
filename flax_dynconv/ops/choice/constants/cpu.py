"""Seconds for each unit of work, measured on this machine.

AMD EPYC, 2 cores, JAX 0.10.2, float32.
Made by `flax-dynconv bench --suite ops --json RESULTS` and `flax-dynconv bench --calibrate RESULTS`.
"""

SECONDS = {
    'conv': 4.22e-12,
    'conv_gradient': 5.26e-12,
    'pointwise': 5.39e-12,
    'pointwise_gradient': 1.14e-11,
    'grouped': 1.04e-09,
    'grouped_gradient': 3.34e-09,
    'sample_conv': 6.47e-12,
    'sample_pointwise': 8.88e-12,
    'matmul': 4.61e-12,
    'product': 5.96e-12,
    'narrow': 6.87e-11,
    'vmap': 2.39e-11,
    'vmap_gradient': 2.54e-11,
    'taps': 3.92e-11,
    'taps_gradient': 7.47e-11,
    'unrolled': 1.08e-11,
    'network': 1.64e-11,
    'mixing': 3.19e-11,
    'bank': 3.57e-11,
    'kernels': 1.72e-11,
    'patches': 2.85e-11,
    'deposit': 2.23e-12,
    'columns': 7.28e-11,
    'elements': 7.26e-11,
    'fresh': 6.39e-10,
    'steps': 1e-15,
    'call': 1e-15,
}
