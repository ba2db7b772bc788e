"""TPU, not measured: from the TPU compiler's own estimates, ahead of time for a v5e, and the limits of the hardware.

bfloat16, batch 128: a static 3x3 convolution of 14x14x256 takes 240 thousand cycles (0.94 GHz), patches with a product
for every sample 13 times as long, XLA's convolution with a group per sample 10 times. Memory moves 0.8 TB/s.
"""

SECONDS = {
    'conv': 8.6e-15,
    'conv_gradient': 8.6e-15,
    'pointwise': 8.6e-15,
    'pointwise_gradient': 8.6e-15,
    'grouped': 1e-13,
    'grouped_gradient': 1e-13,
    'sample_conv': 8.6e-15,
    'sample_pointwise': 8.6e-15,
    'matmul': 8.6e-15,
    'product': 1e-13,
    'narrow': 1e-12,
    'vmap': 9e-14,
    'vmap_gradient': 9e-14,
    'taps': 1e-12,
    'taps_gradient': 1e-12,
    'unrolled': 1e-12,
    'network': 2e-12,
    'mixing': 8.6e-15,
    'bank': 1.2e-12,
    'kernels': 1.2e-12,
    'patches': 1.2e-11,
    'deposit': 1.2e-11,
    'columns': 1.2e-12,
    'elements': 1.2e-12,
    'fresh': 0,
    'steps': 1e-05,
    'call': 1e-05,
}
