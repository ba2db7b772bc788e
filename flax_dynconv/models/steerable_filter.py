"""Dynamic Filter Networks: a filter that a network computes from an angle (De Brabandere et al., NIPS 2016)."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from flax_dynconv.layers import DynamicFiltering
from flax_dynconv.models._filter_fields import square, widened
from flax_dynconv.ops import Autotune


class SteerableFilter(nn.Module, kw_only=True):
    """Filtering at an angle that is an input: y[b] = conv(image[b], reshape(gen(theta[b]))).

    gen is a network of linear layers, 1 -> 64 -> 128 -> 81, with leaky ReLUs between them: 18,897 parameters. The
    authors' network sees theta as a constant map and has 1x1 convolutions in its place: the same function.

    Shapes: image (B, H, W, C) and theta (B,), radians, to (B, H, W, C); all channels are filtered alike. Dtypes: those
    of `DynamicFiltering`; the filter is computed in promote_types(dtype, float32). `train` has no effect.

    Attributes:
      filter_size: odd, an int or two.
      hidden: features of the layers but for the last.
      width: multiplies them.
      act: the activation between the layers.
      normalise_angle: gen sees theta / pi - 1 in place of theta.
      implementation: form of `ops.per_sample_conv`.
      dtype, param_dtype, precision: as in `nn.Dense`.

    The authors' TensorFlow notebook has act=nn.relu and normalise_angle=True.

    Raises ValueError for shapes that do not fit.

    >>> import jax, jax.numpy as jnp
    >>> model, image, theta = SteerableFilter(), jnp.ones((2, 16, 16, 1)), jnp.array([0.0, 1.0])
    >>> y, variables = model.init_with_output(jax.random.key(0), image, theta)
    >>> y.shape, sum(leaf.size for leaf in jax.tree.leaves(variables))
    ((2, 16, 16, 1), 18897)
    >>> model.apply(variables, theta, method='filters').shape
    (2, 9, 9)

    Source: section 4.1 of arXiv:1605.09673; sizes, slope (0.01) and initialisation (Glorot, biases 0) as the authors'
    Lasagne code.
    """

    filter_size: int | Sequence[int] = 9
    hidden: Sequence[int] = (64, 128)
    width: float = 1.0
    act: Callable[..., Any] = nn.leaky_relu
    normalise_angle: bool = False
    implementation: str | Autotune | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    def setup(self):
        """The generator and the layer that applies what it gives."""
        size = square(self.filter_size)
        # What is applied has been computed in float32 at least.
        wide = None if self.dtype is None else jnp.promote_types(self.dtype, jnp.float32)
        self.gen = [
            nn.Dense(
                features,
                kernel_init=nn.initializers.glorot_uniform(),
                dtype=wide,
                param_dtype=self.param_dtype,
                precision=self.precision,
            )
            for features in (*widened(self.hidden, self.width), int(np.prod(size)))
        ]
        self.filtering = DynamicFiltering(
            size, channels='shared', implementation=self.implementation, precision=self.precision, dtype=self.dtype
        )

    def taps(self, theta: jax.Array) -> jax.Array:
        """theta (B,) to the taps (B, kh * kw) in row-major order."""
        theta = jnp.asarray(theta)
        if theta.ndim != 1:
            raise ValueError(f'theta: expected shape (B,), got {theta.shape}')
        x = theta[:, None].astype(jnp.promote_types(theta.dtype, jnp.float32))
        x = x / np.pi - 1 if self.normalise_angle else x
        for layer in self.gen[:-1]:
            x = self.act(layer(x))
        return self.gen[-1](x)

    def filters(self, theta: jax.Array) -> jax.Array:
        """theta (B,) to the filters (B, kh, kw)."""
        taps = self.taps(theta)
        return jnp.reshape(taps, (taps.shape[0], *square(self.filter_size)))

    def filtered(self, image: jax.Array, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The filtered image (B, H, W, C), and the taps (B, kh * kw)."""
        taps = self.taps(theta)
        return self.filtering(image, taps), taps

    def __call__(self, image: jax.Array, theta: jax.Array, train: bool = False) -> jax.Array:
        """image (B, H, W, C) and theta (B,) to the filtered image (B, H, W, C)."""
        return self.filtered(image, theta)[0]
