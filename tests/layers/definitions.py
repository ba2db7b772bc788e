"""The layers as float64 numpy, from the papers' formulas; the convolution is the oracle's loop. Shares no code."""

import numpy as np

from tests import oracle


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z, axis=-1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def linear(x, p):
    return x @ p['kernel'] + p.get('bias', 0)


def pooled(x):
    return x.reshape(len(x), -1, x.shape[-1]).mean(axis=1)


def batch_norm(x, params, stats):
    return (x - stats['mean']) / np.sqrt(stats['var'] + 1e-5) * params['scale'] + params['bias']


def cond_conv(v, x, **options):
    p = v['params']
    r = sigmoid(linear(pooled(x), p['routing']))
    return mixed(x, p, r, r @ p['bias'], **options)


def dynamic_conv(v, x, **options):
    p = v['params']
    hidden = np.maximum(linear(pooled(x), p['routing']['hidden']), 0)
    pi = softmax(linear(hidden, p['routing']['logits']) / v['temperature']['routing']['value'])
    return mixed(x, p, pi, pi @ p['bias'], **options)


def dynet_conv(v, x, **options):
    p = v['params']
    h = pooled(x)
    if 'hidden' in p['routing']:
        h = np.maximum(linear(h, p['routing']['hidden']), 0)
    k, o = p['kernel'].shape[0], p['kernel'].shape[-1]
    eta = sigmoid(linear(h, p['routing']['logits'])).reshape(len(x), o, k).transpose(0, 2, 1)
    return mixed(x, p, eta, p['bias'], **options)


def softmax_dynet_conv(v, x, **options):
    p = v['params']
    k, o = p['kernel'].shape[0], p['kernel'].shape[-1]
    pi = softmax(linear(pooled(x), p['routing']['logits']).reshape(len(x), k, o), axis=1)
    return mixed(x, p, pi, p['bias'], **options)


def od_conv(v, x, **options):
    p, r, t = v['params'], v['params']['routing'], v['temperature']['routing']['value']
    h = np.maximum(batch_norm(linear(pooled(x), r['hidden']), r['norm'], v['batch_stats']['routing']['norm']), 0)
    return attended(x, p, {name: linear(h, r[name]) / t for name in r if name not in ('hidden', 'norm')}, **options)


def plain_od_conv(v, x, **options):
    p, r = v['params'], v['params']['routing']
    h = linear(pooled(x), r['hidden'])
    return attended(x, p, {name: linear(h, r[name]) for name in r if name != 'hidden'}, **options)


def od_conv_norm_act(v, x, **options):
    inner = {name: tree.get('conv', {}) for name, tree in v.items()}
    y = batch_norm(od_conv(inner, x, **options), v['params']['bn'], v['batch_stats']['bn'])
    return y * sigmoid(y)


def attended(x, p, logits, **options):
    """ODConv's product with every given attention on the kernel's side, as the paper writes it."""
    bank, groups = p['kernel'], options.get('feature_group_count', 1)
    size, o = bank.shape[1:-2], bank.shape[-1]
    w = softmax(logits['kernel']) if 'kernel' in logits else np.ones((len(x), 1))
    kernels = np.tensordot(w, bank, 1)
    if 'spatial' in logits:
        kernels = kernels * sigmoid(logits['spatial']).reshape(len(x), *size, 1, 1)
    if 'filter' in logits:
        kernels = kernels * sigmoid(logits['filter']).reshape(len(x), *(1,) * (len(size) + 1), o)
    # Output channel i belongs to group i // (o / groups): it sees the attentions of that group's input channels.
    channel = sigmoid(logits['channel']).reshape(len(x), groups, -1)
    channel = np.repeat(channel, o // groups, axis=1).transpose(0, 2, 1)
    kernels = kernels * channel.reshape(len(x), *(1,) * len(size), -1, o)
    return oracle.per_sample_conv(x, kernels, **options) + p.get('bias', 0)


def mixed(x, p, weights, bias, **options):
    """A mixture by the oracle, plus a bias (Cout,) or (B, Cout)."""
    y = oracle.mixture_conv(x, p['kernel'], weights, **options)
    return y + np.broadcast_to(bias, (len(x), y.shape[-1])).reshape(len(x), *(1,) * (y.ndim - 2), -1)


DEFINITIONS = {
    'CondConv': cond_conv,
    'DynamicConv': dynamic_conv,
    'DyNetConv': dynet_conv,
    'DyNetConv two-layer': dynet_conv,
    'ODConv': od_conv,
    'ODConv 1x': od_conv,
    'SoftmaxDyNetConv': softmax_dynet_conv,
    'PlainODConv': plain_od_conv,
    'ODConvNormAct': od_conv_norm_act,
}
