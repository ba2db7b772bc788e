"""GPU, not measured: from the limits of an H200, of which matrix units are taken to reach a third.

1 PFLOP/s in bfloat16, 4.8 TB/s of memory, about 5 microseconds for every kernel that is started.
"""

SECONDS = {
    'conv': 3e-15,
    'conv_gradient': 3e-15,
    'pointwise': 3e-15,
    'pointwise_gradient': 3e-15,
    'grouped': 3e-14,
    'grouped_gradient': 3e-14,
    'sample_conv': 3e-15,
    'sample_pointwise': 3e-15,
    'matmul': 3e-15,
    'product': 3e-15,
    'narrow': 3e-14,
    'vmap': 3e-14,
    'vmap_gradient': 3e-14,
    'taps': 5e-14,
    'taps_gradient': 5e-14,
    'unrolled': 5e-14,
    'network': 1e-13,
    'mixing': 3e-15,
    'bank': 2.1e-13,
    'kernels': 2.1e-13,
    'patches': 4.2e-13,
    'deposit': 4.2e-13,
    'columns': 2.1e-13,
    'elements': 2.1e-13,
    'fresh': 0,
    'steps': 5e-06,
    'call': 1e-05,
}
