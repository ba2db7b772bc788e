"""An exponential moving average of parameters and statistics, which is what is evaluated."""

import jax
import jax.numpy as jnp


def follow(average, new, decay, step):
    """average + (1 - d) (new - average), with d = min(decay, (1 + step) / (10 + step)).

    d grows from 1/10, so that a short run is not an average with its initial values. `step` counts updates from 0.
    Averages are kept in the dtype of `new` and computed in at least float32.

    Source: TensorFlow's `ExponentialMovingAverage` with `num_updates`, as the EfficientNet recipes use it.

    >>> round(float(follow({'w': jnp.float32(0.0)}, {'w': jnp.float32(1.0)}, decay=0.9999, step=0)['w']), 6)
    0.9
    """
    step = jnp.asarray(step, jnp.float32)
    keep = jnp.minimum(jnp.float32(decay), (1 + step) / (10 + step))

    def one(old, value):
        wide = jnp.promote_types(value.dtype, jnp.float32)
        old_wide, value_wide = old.astype(wide), value.astype(wide)
        return (old_wide + (1 - keep).astype(wide) * (value_wide - old_wide)).astype(value.dtype)

    return jax.tree.map(one, average, new)
