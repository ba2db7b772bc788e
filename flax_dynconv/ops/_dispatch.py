"""The choice that is made at lowering.

`lax.platform_dependent` decides where the program will run when it is lowered, also ahead of time for a TPU from a
CPU host and inside a custom gradient; `jax.default_backend()` would answer for the host.
"""

from jax import lax


def by_platform(branches: dict, *operands):
    """branches[platform](*operands), with 'default' for the platforms that are not named."""
    if len(branches) == 1:
        return branches['default'](*operands)
    return lax.platform_dependent(*operands, **branches)


def known_batch_of_one(batch) -> bool:
    """Whether the batch is the concrete number 1; a symbolic size is never compared."""
    return isinstance(batch, int) and batch == 1
