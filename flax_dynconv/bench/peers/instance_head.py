"""CondInst's mask head as AdelaiDet computes it: coordinates and features repeated for every instance, then groups."""

import functools
import itertools

import torch
import torch.nn.functional as F

from flax_dynconv.bench.peers.operators import both_directions

CHANNELS = (10, 8, 8, 1)


def programs(drawn, stride):
    """The head from arrays in the layouts of JAX: features (B, H, W, C), vector (B, N, G), locations, scales."""
    tensors = {name: torch.from_numpy(array) for name, array in drawn.items()}
    features = tensors['features'].movedim(-1, 1).contiguous()
    function = functools.partial(head, stride)
    operands, fixed = (features, tensors['vector']), (tensors['locations'], tensors['scales'])
    yield from both_directions('torch_grouped', function, operands, tensors['cotangent'], fixed)


def head(stride, features, vector, locations, scales):
    """Logits (B, N, H, W)."""
    (batch, channels, height, width), instances = features.shape, vector.shape[1]
    total = batch * instances
    y, x = (torch.arange(n, dtype=features.dtype) * stride + stride // 2 for n in (height, width))
    grid = torch.stack(torch.meshgrid(x, y, indexing='xy')).view(1, 2, -1)
    relative = (locations.view(total, 2, 1) - grid) / scales.view(total, 1, 1)
    images = torch.arange(batch).repeat_interleave(instances)
    inputs = torch.cat([relative, features.view(batch, channels, -1)[images]], 1)
    y = inputs.view(1, -1, height, width)
    layers = list(itertools.pairwise(CHANNELS))
    sizes = [i * o for i, o in layers] + [o for _, o in layers]
    parts = vector.view(total, -1).split(sizes, 1)
    for n, (i, o) in enumerate(layers):
        weight, bias = parts[n].reshape(total * o, i, 1, 1), parts[len(layers) + n].reshape(-1)
        y = F.conv2d(y, weight, bias, groups=total)
        if n < len(layers) - 1:
            y = F.relu(y)
    return y.view(batch, instances, height, width)
