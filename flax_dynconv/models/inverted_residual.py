"""The block of the mobile networks: expand with a 1x1, filter every channel, squeeze and excite, project with a 1x1."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.models.network import batch_norm, drop_path, shared_routing, static_conv
from flax_dynconv.models.residual_blocks import square_conv


class SqueezeExcite(nn.Module):
    """Channel attention: y = gate(W2 act(W1 mean(x) + b1) + b2) * x.

    x (B, H, W, C); `features` is the length of the inner layer. Both maps are 1x1 convolutions in the references and
    linear layers here; like every attention they are computed at least in float32.

    >>> import jax
    >>> y, variables = SqueezeExcite(2).init_with_output(jax.random.key(0), jnp.ones((1, 4, 4, 8)))
    >>> jax.tree.map(jnp.shape, variables['params']['reduce'])
    {'bias': (2,), 'kernel': (8, 2)}

    Source: Hu et al., "Squeeze-and-Excitation Networks" (CVPR 2018); as in timm's EfficientNet and in torchvision's
    MobileNetV3, which differ in `act`, `gate` and `features`.
    """

    features: int
    act: Callable[..., Any] = nn.relu
    gate: Callable[..., Any] = nn.sigmoid
    kernel_init: Callable[..., Any] = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) to the same shape and dtype."""
        pooled = jnp.mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=(1, 2))
        settings = {
            'dtype': pooled.dtype,
            'param_dtype': self.param_dtype,
            'precision': self.precision,
            'kernel_init': self.kernel_init,
        }
        gate = self.act(nn.Dense(self.features, name='reduce', **settings)(pooled))
        gate = self.gate(nn.Dense(x.shape[-1], name='expand', **settings)(gate))
        return x * gate[:, None, None, :].astype(x.dtype)


class InvertedResidual(nn.Module):
    """y = project(se(act(depthwise(act(expand(x)))))), each convolution with its norm, plus x where shapes allow.

    Attributes:
      features: output channels.
      expanded: channels in between.
      expand: whether there is an expanding convolution; None: where `expanded` differs from the channels of x.
      kernel_size, strides, dilation: of the depthwise convolution.
      squeeze: inner channels of `SqueezeExcite`, 0: none; `squeeze_act`, `gate`: its functions.
      residual: add x where strides are 1 and the channels agree.
      act, project_act: the activation inside, and whether it also follows the projection (MobileNetV1).
      padding: of the depthwise convolution; None: symmetric as in PyTorch, 'SAME': TensorFlow's.
      depthwise_init: initialiser of depthwise kernels; None: the convolution's own.
      router: routing shared by the three convolutions, from the block's input; see `Network`.

    Submodules: expand, expand_bn, depthwise, depthwise_bn, se, project, project_bn, routing.

    >>> import jax
    >>> block = InvertedResidual(features=8, expanded=24, squeeze=2, residual=True)
    >>> y, variables = jax.eval_shape(block.init_with_output, jax.random.key(0), jnp.ones((1, 6, 6, 8)))
    >>> y.shape, sorted(variables['params'])
    ((1, 6, 6, 8), ['depthwise', 'depthwise_bn', 'expand', 'expand_bn', 'project', 'project_bn', 'se'])

    Source: Sandler et al., "MobileNetV2" (CVPR 2018); Howard et al., "Searching for MobileNetV3" (ICCV 2019).
    """

    features: int
    expanded: int
    expand: bool | None = None
    kernel_size: int = 3
    strides: int = 1
    dilation: int = 1
    squeeze: int = 0
    squeeze_act: Callable[..., Any] | None = None
    gate: Callable[..., Any] = nn.sigmoid
    residual: bool = True
    conv: ModuleDef = static_conv
    norm: ModuleDef = batch_norm
    act: Callable[..., Any] = nn.relu6
    project_act: bool = False
    padding: Any = None
    depthwise_init: Callable[..., Any] | None = None
    router: ModuleDef | None = None
    drop_path: float = 0.0
    train: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, x, train=None):
        """(B, H, W, C) to (B, H / strides, W / strides, features); `train`, if given, overrides the field."""
        train = self.train if train is None else train
        norm = offer(self.norm, use_running_average=not train)
        expands = self.expanded != x.shape[-1] if self.expand is None else self.expand
        widths = (*((self.expanded,) if expands else ()), self.expanded, self.features)
        routings = shared_routing(self, x, widths)
        y = x
        if expands:
            y = square_conv(self.conv, self.expanded, 1, 1, 'expand')(y, *routings[0])
            y = self.act(norm(name='expand_bn')(y))
        y = self._depthwise(self.expanded, groups=self.expanded)(y, *routings[-2])
        y = self.act(norm(name='depthwise_bn')(y))
        if self.squeeze:
            dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype, 'precision': self.precision}
            inner = self.act if self.squeeze_act is None else self.squeeze_act
            y = SqueezeExcite(self.squeeze, inner, self.gate, name='se', **dtypes)(y)
        y = square_conv(self.conv, self.features, 1, 1, 'project')(y, *routings[-1])
        y = norm(name='project_bn')(y)
        if self.project_act:
            y = self.act(y)
        if self.residual and self.strides == 1 and x.shape == y.shape:
            y = x + drop_path(y, self.drop_path, train)
        return y

    def _depthwise(self, features, groups):
        own = {} if self.depthwise_init is None else {'kernel_init': self.depthwise_init}
        return square_conv(
            lambda **settings: self.conv(**settings, **own),
            features,
            self.kernel_size,
            self.strides,
            'depthwise',
            self.dilation,
            groups=groups,
            padding=self.padding,
        )
