"""Named workloads: operator calls as published models make them, as data that tests and benchmarks share.

The batch is a parameter (`BATCHES` are the usual ones); spatial sizes are those of the papers' input resolutions. The
module is longer than others because it is a list.
"""

import dataclasses

from flax_dynconv.ops._conv_spec import ConvSpec, per_dimension, resolve_padding

BATCHES = (1, 8, 32)
CHANNEL_SCALES = ('input_scale', 'output_scale')
ALL_SCALES = (*CHANNEL_SCALES, 'tap_scale')


@dataclasses.dataclass(frozen=True)
class Workload:
    """One call of one operator, 'per_sample_conv', 'mixture_conv' or 'per_position_conv'; `source` is its model."""

    name: str
    operator: str
    source: str
    spatial: tuple[int, ...]
    in_features: int
    out_features: int
    kernel_size: tuple[int, ...]
    strides: int = 1
    padding: object = 'SAME'
    kernel_dilation: int = 1
    feature_group_count: int = 1
    # mixture_conv: kernels in the bank, weights (B, K, Cout) instead of (B, K), the scales that are given.
    num_kernels: int = 1
    per_output: bool = False
    scales: tuple[str, ...] = ()
    # per_position_conv: kernels per position, None for the full Cin x Cout form.
    kernel_count: int | None = 1
    # Samples per image: one for every instance in a per-instance head.
    instances: int = 1

    @property
    def options(self) -> dict:
        """The static keyword arguments of the call."""
        options = {'strides': self.strides, 'padding': self.padding, 'kernel_dilation': self.kernel_dilation}
        groups = {'feature_group_count': self.feature_group_count}
        return options if self.operator == 'per_position_conv' else options | groups

    @property
    def spec(self) -> ConvSpec:
        """The sizes of the convolution, output size included."""
        n = len(self.spatial)
        strides, dilation = per_dimension(self.strides, n, 'strides', 1), per_dimension(self.kernel_dilation, n, '', 1)
        one = (1,) * n
        pads, _ = resolve_padding(self.padding, 'zeros', self.spatial, self.kernel_size, strides, one, dilation)
        return ConvSpec(
            self.spatial, self.in_features, self.out_features, self.kernel_size, strides, pads, one, dilation,
            self.feature_group_count,
        )  # fmt: skip

    def shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The shape of every array argument by name, for `batch` images.

        >>> WORKLOADS['resnet18_7x7'].shapes(8)
        {'x': (8, 7, 7, 512), 'kernels': (4, 3, 3, 512, 512), 'weights': (8, 4)}
        """
        batch *= self.instances
        x = {'x': (batch, *self.spatial, self.in_features)}
        one = (*self.kernel_size, self.in_features // self.feature_group_count, self.out_features)
        if self.operator == 'per_sample_conv':
            return x | {'kernel': (batch, *one)}
        if self.operator == 'per_position_conv':
            last = one[-2:] if self.kernel_count is None else (self.kernel_count,)
            return x | {'kernels': (batch, *self.spec.out_spatial, *self.kernel_size, *last)}
        weights = (batch, self.num_kernels, self.out_features) if self.per_output else (batch, self.num_kernels)
        scales = {
            'input_scale': (batch, self.in_features),
            'output_scale': (batch, self.out_features),
            'tap_scale': (batch, *self.kernel_size),
        }
        return x | {'kernels': (self.num_kernels, *one), 'weights': weights} | {n: scales[n] for n in self.scales}

    def multiply_adds(self, batch: int) -> int:
        """Multiply-adds of the convolution alone (mixing and scales excluded), for `batch` images."""
        spec = self.spec
        per_output = spec.num_taps * self.in_features // self.feature_group_count
        if self.operator == 'per_position_conv':
            per_output = spec.num_taps * (self.in_features if self.kernel_count is None else 1)
        return batch * self.instances * spec.num_positions * self.out_features * per_output


def _mixture(name, source, size, cin, cout, k, *, num_kernels=4, depthwise=False, **options):
    padding = options.pop('padding', (k - 1) // 2)
    groups = cin if depthwise else options.pop('feature_group_count', 1)
    return Workload(
        name, 'mixture_conv', source, (size, size), cin, cout, (k, k), padding=padding, feature_group_count=groups,
        num_kernels=num_kernels, **options,
    )  # fmt: skip


_R18 = 'ResNet-18, 3x3 convolutions, 224 x 224'
_MBV2 = 'MobileNetV2 1.0, 224 x 224'
_B0 = 'CondConv-EfficientNet-B0 8e, 224 x 224'
_STAGES = ((56, 64), (28, 128), (14, 256), (7, 512))

RESNET18 = (
    *(_mixture(f'resnet18_{s}x{s}', f'DY-CNN {_R18}', s, c, c, 3) for s, c in _STAGES),
    *(_mixture(f'resnet18_{s}x{s}_down', f'DY-CNN {_R18}', s, c, 2 * c, 3, strides=2) for s, c in _STAGES[:3]),
)

ODCONV = (
    *(
        _mixture(f'odconv{n}x_{s}x{s}', f'ODConv {n}x {_R18}', s, c, c, 3, num_kernels=n, scales=ALL_SCALES)
        for n in (1, 4)
        for s, c in _STAGES
    ),
    _mixture('odconv4x_expand_14x14', f'ODConv 4x {_MBV2}', 14, 96, 576, 1, scales=CHANNEL_SCALES),
    _mixture(
        'odconv4x_depthwise_14x14', f'ODConv 4x {_MBV2}', 14, 576, 576, 3, depthwise=True,
        scales=('input_scale', 'tap_scale'),
    ),
)  # fmt: skip

MOBILENETV2 = (
    _mixture('mobilenetv2_expand_56x56', f'DY-CNN {_MBV2}', 56, 24, 144, 1),
    _mixture('mobilenetv2_expand_14x14', f'DY-CNN {_MBV2}', 14, 96, 576, 1),
    _mixture('mobilenetv2_project_14x14', f'DY-CNN {_MBV2}', 14, 576, 96, 1),
    _mixture('mobilenetv2_expand_7x7', f'DY-CNN {_MBV2}', 7, 160, 960, 1),
    _mixture('mobilenetv2_last_7x7', f'DY-CNN {_MBV2}', 7, 320, 1280, 1),
    _mixture('mobilenetv2_depthwise_56x56', f'DY-CNN {_MBV2}', 56, 144, 144, 3, depthwise=True),
    _mixture('mobilenetv2_depthwise_28x28_down', f'DY-CNN {_MBV2}', 28, 192, 192, 3, depthwise=True, strides=2),
    _mixture('mobilenetv2_depthwise_7x7', f'DY-CNN {_MBV2}', 7, 960, 960, 3, depthwise=True),
)

EFFICIENTNET = (
    _mixture('efficientnet_expand_14x14', _B0, 14, 112, 672, 1, num_kernels=8, padding='SAME'),
    _mixture('efficientnet_project_14x14', _B0, 14, 672, 112, 1, num_kernels=8, padding='SAME'),
    _mixture('efficientnet_expand_7x7', _B0, 7, 192, 1152, 1, num_kernels=8, padding='SAME'),
    _mixture('efficientnet_depthwise_14x14', _B0, 14, 672, 672, 5, num_kernels=8, depthwise=True, padding='SAME'),
    _mixture(
        'efficientnet_depthwise_14x14_down', _B0, 14, 672, 672, 5, num_kernels=8, depthwise=True, padding='SAME',
        strides=2,
    ),
    _mixture('efficientnet_depthwise_7x7', _B0, 7, 1152, 1152, 5, num_kernels=8, depthwise=True, padding='SAME'),
)  # fmt: skip

DYNET = (
    _mixture('dynet_resnet18_28x28', 'Dy-ResNet18, half the channels', 28, 64, 64, 3, num_kernels=6, per_output=True),
    _mixture('dynet_mobile_pointwise_14x14', 'Dy-mobile', 14, 96, 96, 1, num_kernels=6, per_output=True),
    _mixture(
        'dynet_mobile_grouped_14x14', 'Dy-mobile, Cout/6 groups', 14, 96, 96, 3, num_kernels=6, per_output=True,
        feature_group_count=16,
    ),
)  # fmt: skip

DMNET = tuple(
    Workload(
        f'dcm_{k}x{k}', 'per_sample_conv', 'DMNet on 512 x 1024 at stride 8', (64, 128), 512, 512, (k, k),
        padding=(k - 1) // 2, feature_group_count=512,
    )
    for k in (1, 3, 5, 7)
)  # fmt: skip

HDFNET = tuple(
    Workload(
        f'ddpm{stride}_dilation{d}', 'per_position_conv', f'HDFNet on 320 x 320 at stride {stride}',
        (320 // stride, 320 // stride), 16, 16, (3, 3), padding=d, kernel_dilation=d, kernel_count=16,
    )
    for stride in (4, 8, 16)
    for d in (1, 3, 5)
)  # fmt: skip

DFN = (
    Workload('dfn_mnist_9x9', 'per_position_conv', 'DFN, moving MNIST', (64, 64), 1, 1, (9, 9), padding=4),
    Workload('dfn_highway_11x11', 'per_position_conv', 'DFN, highway driving', (64, 64), 1, 1, (11, 11), padding=5),
    Workload('dfn_stereo_1x13', 'per_position_conv', 'DFN, stereo', (64, 64), 1, 1, (1, 13), padding=(0, 6)),
    Workload(
        'dfn_multichannel_9x9', 'per_position_conv', 'DFN, a filter over three channels', (64, 64), 3, 1, (9, 9),
        padding=4, kernel_count=None,
    ),
    Workload('dfn_steerable_9x9', 'per_sample_conv', 'DFN, steerable filters', (64, 64), 1, 1, (9, 9), padding=4),
)  # fmt: skip

INVOLUTION = (
    Workload(
        'involution_7x7_56x56', 'per_position_conv', 'RedNet on 224 x 224', (56, 56), 64, 64, (7, 7), padding=3,
        kernel_count=16,
    ),
)  # fmt: skip

CONDINST = tuple(
    Workload(
        f'condinst_layer{i}', 'per_sample_conv', 'CondInst, 100 instances on 800 x 1344 at stride 8', (100, 168), cin,
        cout, (1, 1), instances=100,
    )
    for i, (cin, cout) in enumerate(((10, 8), (8, 8), (8, 1)))
)  # fmt: skip

WORKLOADS = {
    workload.name: workload
    for family in (RESNET18, ODCONV, MOBILENETV2, EFFICIENTNET, DYNET, DMNET, HDFNET, DFN, INVOLUTION, CONDINST)
    for workload in family
}
