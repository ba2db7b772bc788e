"""Which reference reads the PyTorch weights of each network by name; a family is one line."""

from typing import Any

_WIDTHS = ('050', '075', '100')

# name of create_model -> reference id and its arguments, but for the number of classes
PRETRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    **{f'resnet{d}': (f'torchvision.resnet{d}', {}) for d in (18, 34, 50, 101)},
    **{
        f'odconv_resnet{d}_{k}x': (f'odconv.od_resnet{d}', {'kernel_num': k})
        for d in (18, 34, 50, 101)
        for k in (1, 2, 4)
    },
    **{f'dyconv_resnet{d}_4x': (f'dynconv.dy_resnet{d}', {}) for d in (18, 34, 50)},
}
