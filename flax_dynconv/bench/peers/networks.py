"""Training steps and inference batches of PyTorch's networks."""

import functools

import torch
import torch.nn.functional as F

from flax_dynconv.bench.peers.dynamic_layers import ODConv2d
from flax_dynconv.bench.peers.efficientnet_b0 import EfficientNetB0
from flax_dynconv.bench.peers.mobilenet_v2 import MobileNetV2
from flax_dynconv.bench.peers.resnet18 import ResNet18
from flax_dynconv.bench.program import INFER, TRAIN, Built, Program

_OD = functools.partial(ODConv2d, kernels=4)
# Network of the library -> the same network in PyTorch, by the name of the program.
NETWORKS = {
    'odconv_resnet18_4x': {
        'torch_grouped': lambda: ResNet18(_OD),
        'torch_official': lambda: ResNet18(functools.partial(_OD, broadcast=True)),
        'torch_static': ResNet18,
    },
    'odconv_mobilenetv2_100_1x': {
        'torch_grouped': lambda: MobileNetV2(functools.partial(ODConv2d, kernels=1)),
        'torch_static': MobileNetV2,
    },
    'condconv_efficientnet_b0_4e': {
        'torch_grouped': lambda: EfficientNetB0(4),
        'torch_static': EfficientNetB0,
    },
}


def programs(name, images, labels):
    """Programs of a network and of its static twin; images (B, H, W, 3) and integer labels as numpy arrays."""
    images = torch.from_numpy(images).movedim(-1, 1).contiguous()
    labels = torch.from_numpy(labels).long()
    for program, make in NETWORKS.get(name, {}).items():
        yield Program(program, TRAIN, functools.partial(_training, make, images, labels))
        yield Program(program, INFER, functools.partial(_inference, make, images))


def _training(make, images, labels):
    network = make().train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return Built(step, {})


def _inference(make, images):
    network = make().eval()

    def batch():
        with torch.no_grad():
            return network(images)

    return Built(batch, {})
