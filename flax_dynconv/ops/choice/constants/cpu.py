"""Seconds for each unit of work, measured on this machine.

AMD EPYC, 2 cores, JAX 0.10.2, float32.
Made by `flax-dynconv bench --suite ops --json RESULTS` and `flax-dynconv bench --calibrate RESULTS`.
"""

SECONDS = {
    'conv': 4.22e-12,
    'conv_gradient': 5.27e-12,
    'pointwise': 5.4e-12,
    'pointwise_gradient': 1.14e-11,
    'grouped': 1.03e-09,
    'grouped_gradient': 2.22e-09,
    'sample_conv': 6.49e-12,
    'sample_pointwise': 8.94e-12,
    'matmul': 4.62e-12,
    'product': 6e-12,
    'narrow': 6.61e-11,
    'vmap': 5e-11,
    'vmap_gradient': 6e-11,
    'taps': 3.7e-11,
    'taps_gradient': 6.76e-11,
    'unrolled': 1.08e-11,
    'network': 1.64e-11,
    'mixing': 3.19e-11,
    'bank': 3.46e-11,
    'kernels': 1.5e-11,
    'patches': 2.55e-11,
    'deposit': 1.7e-12,
    'columns': 7.2e-11,
    'elements': 7.26e-11,
    'fresh': 6.41e-10,
    'steps': 1e-15,
    'call': 1e-15,
}
