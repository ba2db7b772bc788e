"""Seconds for each unit of work, measured on this machine.

AMD EPYC, 2 cores, JAX 0.10.2, float32.
Made by `flax-dynconv bench --suite ops --json RESULTS` and `flax-dynconv bench --calibrate RESULTS`.
"""

SECONDS = {
    'conv': 3.76e-12,
    'conv_gradient': 5.66e-12,
    'pointwise': 3.86e-12,
    'pointwise_gradient': 9.65e-12,
    'grouped': 6.72e-10,
    'grouped_gradient': 2.95e-09,
    'sample_conv': 4.52e-12,
    'sample_pointwise': 6.14e-12,
    'matmul': 3.48e-12,
    'product': 3.49e-12,
    'narrow': 1.69e-11,
    'vmap': 6.56e-12,
    'vmap_gradient': 1.08e-11,
    'taps': 2.33e-11,
    'taps_gradient': 5.23e-11,
    'unrolled': 1.08e-11,
    'network': 1.64e-11,
    'mixing': 2.65e-11,
    'bank': 1.62e-11,
    'kernels': 5.2e-11,
    'patches': 1.76e-10,
    'deposit': 0,
    'columns': 4.45e-11,
    'elements': 6.09e-11,
    'fresh': 3.7e-10,
    'steps': 1.75e-05,
    'call': 6.03e-05,
}
