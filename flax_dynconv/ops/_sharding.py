"""Where the batch is sharded: shard_map under Explicit axes, replicated kernels under a mesh in context.

* Auto axes, plain `jit`: nothing to do, the forms that `None` chooses partition by themselves.
* Explicit axes (`jax.set_mesh`): the operator runs under `jax.shard_map` over the axes that shard x's batch. Its
  body sees ordinary local arrays, so every form works; kernels are replicated and their gradients summed.
* Inside a user's own `shard_map` the operands are made to vary over the same axes, so that the own gradients have
  the types that JAX expects, and the gradient of a replicated bank is summed over the mesh.
"""

import jax
from jax import lax
from jax.sharding import AxisType, PartitionSpec


def over_batch(function, batched, shared):
    """function(*batched, *shared): batched arrays have the batch as first axis, shared ones do not (None allowed)."""
    operands = (*batched, *shared)
    if not any(_explicitly_sharded(o) for o in operands if o is not None):
        return function(*_same_varying(operands))
    spec = jax.typeof(batched[0]).sharding.spec
    axes = spec[0] if len(spec) else None
    specs = (*(PartitionSpec(axes) for _ in batched), *(PartitionSpec() for _ in shared))
    operands = [
        None if array is None else jax.sharding.reshard(array, spec)
        for array, spec in zip(operands, specs, strict=True)
    ]
    if axes is None:
        return function(*operands)
    # Only over the batch's axes: over the others everything is whole, and gradients need no sum.
    # Without the check, the transposed map sums the gradients of the replicated operands over the mesh by itself.
    names = {axes} if isinstance(axes, str) else set(axes)
    return jax.shard_map(function, in_specs=specs, out_specs=PartitionSpec(axes), axis_names=names, check_vma=False)(
        *operands
    )


def replicated(array):
    """Constrain a kernel bank to be whole on every device, where a mesh with Auto axes is in context.

    A bank that is sharded over its own axes (fsdp) is then gathered once, instead of the per-sample kernels that are
    mixed from it.
    """
    if not isinstance(array, jax.core.Tracer):
        return array  # Eager arrays are where they are, perhaps outside the mesh.
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or set(mesh.axis_types) != {AxisType.Auto}:
        return array
    return lax.with_sharding_constraint(array, PartitionSpec())


def _explicitly_sharded(array) -> bool:
    """Whether a mesh with Explicit axes shards any axis of the array."""
    sharding = jax.typeof(array).sharding
    explicit = not sharding.mesh.empty and AxisType.Explicit in sharding.mesh.axis_types
    return explicit and any(axes is not None for axes in sharding.spec)


def _varying(array):
    """The manual mesh axes over which an array varies."""
    kind = getattr(jax.typeof(array), 'manual_axis_type', None)
    return getattr(kind, 'varying', frozenset())


def _same_varying(operands):
    """All operands varying over the union of their manual mesh axes."""
    axes = frozenset().union(*(_varying(o) for o in operands if o is not None))

    def cast(array):
        missing = () if array is None else tuple(sorted(axes - _varying(array)))
        return lax.pcast(array, missing, to='varying') if missing else array

    return [cast(o) for o in operands]
