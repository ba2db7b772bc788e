"""Which reference reads the PyTorch weights of each network by name; a family is one line."""

from collections.abc import Mapping
from typing import Any

_DEPTHS = (18, 34, 50, 101)
_WIDTHS = ('050', '075', '100')
_SHUFFLENETS = {'050': 'x0_5', '100': 'x1_0', '150': 'x1_5', '200': 'x2_0'}
_CONDCONV = ('b0_4e', 'b0_8e', 'b1_8e')

# name of create_model -> reference id and its arguments, but for the number of classes
PRETRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    **{f'resnet{d}': (f'torchvision.resnet{d}', {}) for d in _DEPTHS},
    **{f'odconv_resnet{d}_{k}x': (f'odconv.od_resnet{d}', {'kernel_num': k}) for d in _DEPTHS for k in (1, 2, 4)},
    **{f'dyconv_resnet{d}_4x': (f'dynconv.dy_resnet{d}', {}) for d in (18, 34, 50)},
    **{f'mobilenetv2_{w}': ('torchvision.mobilenet_v2', {'width_mult': int(w) / 100}) for w in _WIDTHS},
    **{
        f'odconv_mobilenetv2_{w}_{k}x': (f'odconv.od_mobilenetv2_{w}', {'kernel_num': k})
        for w in _WIDTHS
        for k in (1, 4)
    },
    **{f'mobilenetv3_{size}': (f'torchvision.mobilenet_v3_{size}', {}) for size in ('small', 'large')},
    **{f'shufflenetv2_{w}': (f'torchvision.shufflenet_v2_{size}', {}) for w, size in _SHUFFLENETS.items()},
    **{f'efficientnet_{size}': (f'timm.tf_efficientnet_{size}', {}) for size in ('b0', 'b1')},
    **{f'condconv_efficientnet_{size}': (f'timm.tf_efficientnet_cc_{size}', {}) for size in _CONDCONV},
    **{f'vgg{d}_bn': (f'torchvision.vgg{d}_bn', {}) for d in (16, 19)},
    **{f'dmnet_resnet{d}': ('dmnet.EncoderDecoder', {'depth': d}) for d in (50, 101)},
}

# field of a network here -> names of constructors' arguments
_ARGUMENTS = {
    'width': ('width_mult',),
    'num_kernels': ('kernel_num', 'num_experts'),
    'in_channels': ('in_chans',),
    'reduction': ('reduction',),
}


def torch_arguments(overrides: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Those overrides that a reference's constructor knows, by its own names.

    >>> torch_arguments({'width': 0.5, 'num_kernels': 2, 'dropout': 0.1}, {'num_classes': 1000, 'width_mult': 1.0})
    {'width_mult': 0.5}
    """
    names = [(name, value) for field, value in overrides.items() for name in _ARGUMENTS.get(field, ())]
    return {name: value for name, value in names if name in known and value is not None}
