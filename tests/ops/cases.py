"""The cases that every form of every operator runs, and the ones that a form is expected to decline."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Case:
    """Sizes and options of one call; the batch is 2, arrays are drawn at unit scale."""

    name: str
    spatial: tuple[int, ...] = (5, 4)
    kernel_size: tuple[int, ...] = (3, 2)
    cin: int = 4
    cout: int = 6
    batch: int = 2
    # mixture_conv: size of the bank, weights (B, K, Cout) instead of (B, K), which scales are given.
    num_kernels: int = 2
    per_output: bool = False
    scales: tuple[str, ...] = ()
    # per_position_conv: kernels per position, 'full' for a Cin x Cout matrix per tap.
    count: Any = 1
    options: dict = dataclasses.field(default_factory=dict)

    @property
    def groups(self) -> int:
        return self.options.get('feature_group_count', 1)


def case(name, spatial=(5, 4), kernel_size=(3, 2), *, cin=4, cout=6, batch=2, num_kernels=2, per_output=False,
         scales=(), count=1, **options):  # fmt: skip
    return Case(name, spatial, kernel_size, cin, cout, batch, num_kernels, per_output, scales, count, options)


ALL_SCALES = ('input_scale', 'output_scale', 'tap_scale')
DEPTHWISE = {'feature_group_count': 4}

PER_SAMPLE = [
    case('square', kernel_size=(3, 3)),
    case('pointwise', kernel_size=(1, 1)),
    case('pointwise_stride', kernel_size=(1, 1), strides=2),
    case('even_kernel_stride', kernel_size=(2, 4), strides=(2, 1)),
    case('valid', padding='VALID', strides=(1, 2)),
    case('amount', padding=2),
    case('amount_per_dimension', padding=(2, 0)),
    case('pairs_and_crop', padding=((2, 1), (-1, 0))),
    case('circular', padding='CIRCULAR', kernel_size=(2, 3)),
    case('reflect', padding='REFLECT', kernel_size=(4, 3), strides=2),
    case('reflect_amounts', padding=((1, 2), (0, 1)), padding_mode='reflect'),
    case('replicate_amounts', padding=2, padding_mode='replicate', kernel_dilation=2),
    case('circular_amounts', padding=(2, 1), padding_mode='circular', strides=2),
    case('dilated', kernel_dilation=(2, 1), strides=2),
    case('dilated_input', padding=((1, 2), (2, 1)), input_dilation=(2, 3), strides=2),
    case('dilated_input_same', (3, 2), (2, 3), padding='SAME', input_dilation=2),
    case('groups', feature_group_count=2),
    case('depthwise', cout=4, **DEPTHWISE),
    case('depthwise_multiplier', cout=8, strides=2, padding=1, kernel_dilation=(1, 2), **DEPTHWISE),
    case('one_channel', cin=1, cout=1),
    case('one_sample', batch=1, strides=2),
    case('1d', (7,), (3,), strides=2),
    case('1d_causal', (7,), (3,), padding='CAUSAL', kernel_dilation=2),
    case('1d_depthwise', (7,), (4,), cout=4, padding='VALID', kernel_dilation=2, **DEPTHWISE),
    case('3d', (3, 4, 2), (2, 3, 1), strides=(1, 2, 1), feature_group_count=2),
    case('3d_dilated', (3, 2, 4), (2, 1, 3), padding=(1, 0, 2), kernel_dilation=(1, 1, 2), cin=2, cout=3),
    case('3d_depthwise', (3, 4, 2), (3, 2, 2), cout=8, padding=((1, 1), (0, 1), (1, 0)), **DEPTHWISE),
]

MIXTURE = [
    case('plain', num_kernels=3),
    case('per_output', num_kernels=3, per_output=True, strides=2),
    case('input_scale', scales=('input_scale',), padding='REFLECT'),
    case('output_scale', scales=('output_scale',), padding='VALID'),
    case('tap_scale', scales=('tap_scale',), kernel_dilation=2, padding=2),
    case('all_scales', scales=ALL_SCALES, strides=2),
    case('all_scales_per_output', scales=ALL_SCALES, per_output=True, kernel_size=(2, 3)),
    case('all_scales_groups', scales=ALL_SCALES, feature_group_count=2, padding=((0, 2), (-1, 1))),
    case('groups_per_output', per_output=True, feature_group_count=2, padding=1, padding_mode='circular'),
    case('depthwise', cout=4, scales=ALL_SCALES, strides=2, **DEPTHWISE),
    case('depthwise_multiplier', cout=8, per_output=True, **DEPTHWISE),
    case('pointwise', kernel_size=(1, 1), scales=('input_scale', 'output_scale')),
    case('pointwise_per_output', kernel_size=(1, 1), per_output=True),
    case('one_kernel', num_kernels=1, scales=('input_scale', 'output_scale')),
    case('one_kernel_taps', num_kernels=1, scales=ALL_SCALES, padding='CIRCULAR'),
    case('one_kernel_per_output', num_kernels=1, per_output=True),
    case('one_kernel_groups', num_kernels=1, scales=('tap_scale',), feature_group_count=2),
    case('one_sample', batch=1, scales=ALL_SCALES),
    case('one_sample_plain', batch=1),
    case('dilated_input', input_dilation=2, padding=1, strides=3, scales=('tap_scale',)),
    case('1d_causal', (7,), (3,), padding='CAUSAL', scales=ALL_SCALES, kernel_dilation=2),
    case('3d', (3, 2, 4), (2, 1, 3), feature_group_count=2, scales=ALL_SCALES),
]

PER_POSITION = [
    case('shared'),
    case('grouped', count=2, strides=2),
    case('per_channel', count=4, kernel_dilation=2),
    case('full', count='full', cin=6, cout=5),
    case('full_few_channels', count='full', cin=2, cout=6),
    case('full_one_output', count='full', cout=1, strides=2, padding='VALID'),
    case('full_dilated_input', (3, 4), (2, 3), count='full', cout=3, input_dilation=2, padding=1),
    case('pointwise', kernel_size=(1, 1), count=4),
    case('one_channel', cin=1, kernel_size=(4, 3)),
    case('valid', padding='VALID', count=2, kernel_size=(2, 3)),
    case('amount', padding=(0, 2), count=4, strides=(1, 2)),
    case('pairs_and_crop', padding=((2, 1), (-1, 0)), count=2),
    case('circular', padding='CIRCULAR', kernel_size=(2, 3), count=4),
    case('reflect', padding='REFLECT', kernel_size=(4, 3), strides=2, count=2),
    case('reflect_amounts', padding=((1, 2), (0, 1)), padding_mode='reflect'),
    case('replicate_amounts', padding=2, padding_mode='replicate', kernel_dilation=2, count=4),
    case('circular_amounts', padding=(2, 1), padding_mode='circular', strides=2, count='full'),
    case('dilated_input', padding=((1, 2), (2, 1)), input_dilation=(2, 3), strides=2, count=4),
    case('one_sample', batch=1, count=2),
    case('1d_causal', (7,), (3,), padding='CAUSAL', kernel_dilation=2, count=4),
    case('1d_stride', (8,), (4,), strides=3, count='full', cout=3),
    case('3d', (3, 4, 2), (2, 3, 1), strides=(1, 2, 1), count=2),
    case('3d_full', (3, 2, 2), (2, 1, 2), count='full', cin=2, cout=3, padding=(1, 0, 1)),
]

CASES = {'per_sample_conv': PER_SAMPLE, 'mixture_conv': MIXTURE, 'per_position_conv': PER_POSITION}

_PER_OUTPUT = 'per_output all_scales_per_output groups_per_output depthwise_multiplier pointwise_per_output'
_GROUPS = 'all_scales_groups groups_per_output depthwise depthwise_multiplier one_kernel_groups 3d'
_TAP_SCALED = 'tap_scale all_scales all_scales_per_output all_scales_groups depthwise one_kernel_taps one_kernel_groups'

# A few cases that between them reach every branch of a form; what is slow to check is checked on these.
REPRESENTATIVE = {
    'per_sample_conv': ['groups', 'depthwise_multiplier', 'one_sample', 'dilated_input'],
    'mixture_conv': ['all_scales_groups', 'per_output', 'depthwise', 'one_kernel_taps', 'input_scale', 'one_sample'],
    'per_position_conv': ['grouped', 'full', 'per_channel', 'full_few_channels', 'reflect_amounts'],
}

# (operator, form) -> (what the reason must say, the cases declined). Every other case must be right.
DECLINED = {
    ('per_sample_conv', 'taps'): (
        'depthwise',
        {c.name for c in PER_SAMPLE}
        - {'depthwise', 'depthwise_multiplier', 'one_channel', '1d_depthwise', '3d_depthwise'},
    ),
    ('mixture_conv', 'taps'): ('depthwise', {c.name for c in MIXTURE} - {'depthwise', 'depthwise_multiplier'}),
    ('mixture_conv', 'blocks'): (
        'blocks needs',
        {*_PER_OUTPUT.split(), *_GROUPS.split(), 'one_kernel_per_output'},
    ),
    ('mixture_conv', 'columns'): (
        'columns needs',
        {*_PER_OUTPUT.split(), *_GROUPS.split(), 'one_kernel_per_output'},
    ),
    ('mixture_conv', 'features_in'): ('Cout', {*_PER_OUTPUT.split(), 'one_kernel_per_output'}),
    ('mixture_conv', 'features_out'): (
        'tap_scale',
        {*_TAP_SCALED.split(), 'one_sample', 'dilated_input', '1d_causal', '3d'},
    ),
}
