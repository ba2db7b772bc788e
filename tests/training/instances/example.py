"""Small maps and a batch for them, of which some slots are empty; and their losses in float64 by loops."""

import jax.numpy as jnp
import numpy as np

from flax_dynconv.models.condinst import InstanceMaps
from flax_dynconv.training.instances.assignment import size_ranges

STRIDES, SIZES, CHANNELS = (8, 16), (16, 32), (10, 8, 8, 1)
OPTIONS = {'strides': STRIDES, 'sizes_of_interest': SIZES, 'channels': CHANNELS}
SIDE, CLASSES = 64, 5


def maps(dtype=jnp.float32, batch=3, seed=0):
    random = np.random.default_rng(seed)

    def levels(channels, scale=1.0):
        arrays = (random.normal(0, scale, (batch, SIDE // s, SIDE // s, channels)) for s in STRIDES)
        return tuple(_rounded(array, dtype) for array in arrays)

    logits, distances, centerness, parameters = levels(CLASSES), levels(4, 2), levels(1), levels(169, 0.4)
    features, semantic = (_rounded(random.normal(size=(batch, 8, 8, n)), dtype) for n in (8, CLASSES))
    return InstanceMaps(logits, tuple(abs(d) for d in distances), centerness, parameters, features, semantic)


def _rounded(array, dtype):
    """The same numbers in every dtype that holds a float32."""
    return jnp.asarray(array.astype(np.float32), dtype)


def batch(batch=3, slots=3, seed=1):
    """The last slot of each image is empty, the last image has no object."""
    random = np.random.default_rng(seed)
    low = random.uniform(0, 30, (batch, slots, 2))
    boxes = np.concatenate([low, low + random.uniform(12, 34, (batch, slots, 2))], axis=2).astype(np.float32)
    valid = np.ones((batch, slots), bool)
    valid[:, -1], valid[-1] = False, False
    arrays = {
        'boxes': boxes,
        'classes': random.integers(0, CLASSES, (batch, slots)).astype(np.int32),
        'valid': valid,
        'centers': ((boxes[..., :2] + boxes[..., 2:]) / 2 + random.uniform(-3, 3, (batch, slots, 2))).astype(
            np.float32
        ),
        'masks': (random.random((batch, slots, 16, 16)) < 0.4).astype(np.uint8),
        'semantic': random.integers(0, CLASSES + 1, (batch, 8, 8)).astype(np.int32),
        'image': random.integers(0, 90, (batch, SIDE, SIDE, 3)).astype(np.uint8),
        'size': np.full((batch, 2), SIDE, np.int32),
        'mask': np.ones(batch, np.float32),
    }
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def locations():
    """(x, y, stride, range, scale) of all of them, finest level first, row by row."""
    for stride, limits, scale in zip(STRIDES, size_ranges(SIZES), SIZES, strict=True):
        for y, x in np.ndindex(SIDE // stride, SIDE // stride):
            yield stride * x + stride // 2, stride * y + stride // 2, stride, limits, scale


def assigned(batch, image):
    """(object, distances in strides) of each location."""
    boxes, centers, valid = (np.asarray(batch[name][image], np.float64) for name in ('boxes', 'centers', 'valid'))
    for x, y, stride, (low, high), _ in locations():
        best = (np.inf, -1, np.zeros(4))
        for m, (x0, y0, x1, y1) in enumerate(boxes):
            sides = np.array([x - x0, y - y0, x1 - x, y1 - y])
            near = np.abs(np.array([x, y]) - centers[m]).max() < 1.5 * stride
            if valid[m] and sides.min() > 0 and near and low <= sides.max() <= high:
                best = min(best, ((x1 - x0) * (y1 - y0), m, sides / stride), key=lambda each: each[0])
        yield best[1:]


def by_loops(torch, maps, batch, max_positives):
    """The dict of losses of 'dice' as PyTorch's scalars in float64."""
    flat = [torch.cat([level.flatten(1, 2) for level in each], dim=1) for each in maps[:4]]
    logits, distances, centerness, parameters = flat
    sums = dict.fromkeys(('classification', 'box', 'centerness', 'mask', 'semantic'), torch.zeros(()).double())
    positives, central, chosen, pixels = 0, 0.0, 0, 0
    places = list(locations())
    for image in range(len(logits)):
        found, hot = list(assigned(batch, image)), torch.zeros_like(logits[image])
        owners = {}
        for p, (m, target) in enumerate(found):
            if m < 0:
                continue
            positives += 1
            hot[p, int(batch['classes'][image, m])] = 1
            left, top, right, bottom = target
            weight = (min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom)) ** 0.5
            central += weight
            sums['box'] = sums['box'] + weight * _giou_loss(torch, distances[image, p], torch.tensor(target))
            z = centerness[image, p, 0]
            sums['centerness'] = sums['centerness'] - weight * _log(torch, z) - (1 - weight) * _log(torch, -z)
            score = torch.sigmoid(logits[image, p]).max() * torch.sigmoid(z)
            owners.setdefault(m, []).append((float(score.detach()), p))
        sums['classification'] = sums['classification'] + _focal(torch, logits[image], hot)
        for m, each in owners.items():
            for _, p in sorted(each, reverse=True)[: max(max_positives // len(owners), 1)]:
                x, y, _, _, scale = places[p]
                mask = _mask(torch, maps[4][image], parameters[image, p], x, y, scale)
                truth = torch.tensor(np.asarray(batch['masks'][image, m], np.float64))
                overlap = 2 * (mask * truth).sum() / ((mask**2).sum() + (truth**2).sum() + 1e-5)
                sums['mask'] = sums['mask'] + 1 - overlap
                chosen += 1
        labels = torch.tensor(np.asarray(batch['semantic'][image]))
        hot = torch.stack([labels == c + 1 for c in range(CLASSES)], dim=-1).double()
        sums['semantic'], pixels = sums['semantic'] + _focal(torch, maps[5][image], hot), pixels + int(hot.sum())
    counts = {'classification': positives, 'box': central, 'centerness': positives, 'mask': chosen, 'semantic': pixels}
    return {name: sums[name] / max(counts[name], 1e-6 if name == 'box' else 1) for name in sums}, positives, chosen


def _log(torch, z):
    return torch.nn.functional.logsigmoid(z)


def _focal(torch, z, hot):
    p = torch.sigmoid(z)
    each = -0.25 * hot * (1 - p) ** 2 * _log(torch, z) - 0.75 * (1 - hot) * p**2 * _log(torch, -z)
    return each.sum()


def _giou_loss(torch, a, b):
    def area(d):
        return (d[0] + d[2]) * (d[1] + d[3])

    shared, hull = area(torch.minimum(a, b)), area(torch.maximum(a, b))
    union = area(a) + area(b) - shared
    return 1 - (shared + 1) / (union + 1) + (hull - union) / hull


def _mask(torch, features, parameters, x, y, scale):
    """Probabilities (16, 16) of one network: weights, then biases; coordinates, then features; aligned x 2."""
    grid = 8.0 * torch.arange(8).double() + 4
    across, down = ((x - grid) / scale)[None, :].expand(8, 8), ((y - grid) / scale)[:, None].expand(8, 8)
    values = torch.cat([across[..., None], down[..., None], features], dim=-1)
    w0, w1, w2, b0, b1, b2 = torch.split(parameters, [80, 64, 8, 8, 8, 1])
    values = torch.relu(values @ w0.reshape(8, 10).T + b0)
    values = torch.relu(values @ w1.reshape(8, 8).T + b1)
    logits = (values @ w2.reshape(1, 8).T + b2)[..., 0]
    for axis in (0, 1):
        at = torch.clamp(torch.arange(16).double() - 1, min=0) / 2
        low = at.floor().long()
        share = (at - low).reshape(-1, 1) if axis == 0 else (at - low)
        first, second = (logits.index_select(axis, torch.clamp(i, max=7)) for i in (low, low + 1))
        logits = (1 - share) * first + share * second
    return torch.sigmoid(logits)
