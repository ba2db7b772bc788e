"""Dynamic Filter Networks in PyTorch: windows by unfold, sequences by a Python loop."""

import itertools

import torch
from torch import nn
from torch.nn import functional as F


def filter_locally(x, filters, size, softmax=True, bias=False):
    """x (B, C, H, W), filters (B, T*C [+ 1], H, W) to (B, 1, H, W): tap by tap, channel by channel."""
    (kh, kw), (b, c, h, w) = size, x.shape
    if bias:
        x = x + filters[:, -1:]
        filters = filters[:, :-1]
    if softmax:
        filters = filters.softmax(1)
    windows = F.unfold(x, size, padding=(kh // 2, kw // 2)).view(b, c * kh * kw, h, w)
    return (windows * filters).sum(1, keepdim=True)


class SteerableFilter(nn.Module):
    """(image, theta (B,)) to the filtered image and the taps; the generator sees theta as a constant map."""

    def __init__(self, filter_size=9):
        super().__init__()
        self.size = filter_size
        self.gen = nn.ModuleList(nn.Conv2d(*c, 1) for c in ((1, 64), (64, 128), (128, filter_size**2)))

    def forward(self, image, theta):
        x = theta[:, None, None, None].expand(-1, 1, *image.shape[2:])
        for layer in self.gen[:-1]:
            x = F.leaky_relu(layer(x), 0.01)
        filters = self.gen[-1](x)
        return filter_locally(image, filters, (self.size,) * 2, softmax=False), filters[:, :, 0, 0]


class Untied(nn.Conv2d):
    """A convolution with a bias (O, H, W)."""

    def __init__(self, *args, shape, **kwargs):
        super().__init__(*args, **kwargs, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.out_channels, *shape))

    def forward(self, x):
        return F.conv2d(x, self.weight, None, self.stride, self.padding) + self.bias


class Predictor(nn.Module):
    """One step (frames (B, buffer, H, W), state) to (next frame, state, filters); `unroll` for whole sequences."""

    def __init__(
        self, enc, mid, dec, up, size, buffer=1, bias=False, recurrent=True, untied=(), pixels=64, width=1,
        filtering=True, refinement=False,
    ):  # fmt: skip
        super().__init__()
        enc, dec, up, (mid, pre) = ([round(c * width) for c in table] for table in (enc, dec, up, (mid, 128)))
        self.size, self.buffer, self.dynamic_bias, self.low = size, buffer, bias, len(dec)
        height, wide = pixels if isinstance(pixels, list | tuple) else (pixels, pixels)
        made = [(a, b) for a, b in zip([buffer, *enc], enc, strict=False)]
        self.enc = nn.ModuleList(
            Untied(*c, 3, padding=1, shape=(height, wide))
            if f'enc.{i}' in untied
            else nn.Conv2d(*c, 3, padding=1, stride=2 if i == 1 else 1)
            for i, c in enumerate(made)
        )
        half = (height // 2, wide // 2)
        self.mid = (
            Untied(enc[-1], mid, 3, padding=1, shape=half) if 'mid' in untied else nn.Conv2d(enc[-1], mid, 3, padding=1)
        )
        self.hid = nn.ModuleList(nn.Conv2d(mid, mid, 3, padding=1) for _ in range(2 if recurrent else 0))
        widths = [mid, *dec, *up]
        self.dec = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.pre = nn.Conv2d(widths[-1], pre, 1)
        self.filt = nn.Conv2d(pre, size[0] * size[1] + bias, 1)
        self.out = None if filtering else nn.Conv2d(size[0] * size[1] + bias, 1, 1)
        refine = [buffer + 1, *(round(c * width) for c in (32, 64, 32)), 1]
        pairs = itertools.pairwise(refine) if refinement else ()
        self.ref = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)

    def forward(self, frames, state=None):
        x = frames
        for layer in (*self.enc, self.mid):
            x = F.leaky_relu(layer(x), 0.01)
        if len(self.hid):
            for layer in self.hid:
                state = F.leaky_relu(layer(state), 0.01)
            x = state = x + state
        for i, layer in enumerate(self.dec):
            x = F.interpolate(x, scale_factor=2, mode='nearest') if i == self.low else x
            x = F.leaky_relu(layer(x), 0.01)
        logits = self.filt(F.leaky_relu(self.pre(x), 0.01))
        if self.out is not None:
            frame = self.out(logits)
        else:
            frame = filter_locally(frames[:, -1:], logits, self.size, bias=self.dynamic_bias)
        if len(self.ref):
            x = torch.cat([frame, frames], 1)
            for layer in self.ref:
                x = F.leaky_relu(layer(x), 0.01)
            frame = frame + x
        taps = logits[:, : self.size[0] * self.size[1]].softmax(1)
        return (frame, state, taps) if len(self.hid) else (frame, taps)

    def unroll(self, frames, count):
        """frames (B, T, 1, H, W) to the `count` frames that follow: every step is run, the first outputs discarded."""
        b, _, _, h, w = frames.shape
        seen = list(frames.unbind(1))
        state = frames.new_zeros(b, self.mid.out_channels, h // 2, w // 2)
        known, outputs = len(seen), []
        for step in range(known - self.buffer + count):
            result = self(torch.cat(seen[step : step + self.buffer], 1), state)
            state = result[1] if len(self.hid) else None
            if step + self.buffer >= known:
                outputs.append(result[0])
                seen.append(result[0])
        return torch.stack(outputs, 1)


def moving_mnist(filter_size=9, **settings):
    return Predictor((32, 32, 64, 64), 128, (64, 64), (64, 64), (filter_size,) * 2, **settings)


def highway(filter_size=11, **settings):
    return Predictor(
        (32, 32, 64), 64, (64,), (32, 64), (filter_size,) * 2, buffer=2, bias=True, untied=('enc.0',), **settings
    )


def stereo(filter_size=(1, 13), **settings):
    return Predictor(
        (32, 32, 64, 64), 128, (64, 64), (64, 64), filter_size, bias=True, recurrent=False, untied=('mid',), **settings
    )
