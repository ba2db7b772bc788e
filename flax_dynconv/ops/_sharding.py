"""Where the batch is sharded: shard_map under Explicit axes, replicated kernels under a mesh in context.

* Auto axes, plain `jit`: nothing to do, the forms that `None` chooses partition by themselves.
* Explicit axes (`jax.set_mesh`): the operator runs under `jax.shard_map` over the axes that shard x's batch. Its
  body sees ordinary local arrays, so every form works; kernels are replicated and their gradients summed.
* Inside a user's own `shard_map` the operands are made to vary over the same axes, so that the own gradients have
  the types that JAX expects, and the gradient of a replicated bank is summed over the mesh.
"""

import itertools

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from flax_dynconv.ops._dispatch import known_batch_of_one


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


def only_batch_sharded(x, shared) -> bool:
    """Whether Explicit mesh axes shard nothing but the first axis of x: what `over_batch` leaves in its place."""
    spec = jax.typeof(x).sharding.spec if _explicitly_sharded(x) else ()
    return not _explicitly_sharded(shared) and all(axes is None for axes in spec[1:])


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


def zeros(shape, dtype, like: jax.Array) -> jax.Array:
    """Zeros to start a loop's carry with, varying over the same manual mesh axes as `like`."""
    return _to_vary(jnp.zeros(shape, dtype), _varying(like))


def per_device(function, batched, shared, anywhere):
    """function(*batched, *shared), run on each device for its own samples.

    For functions that loop over the batch, which under plain `jit` or Auto axes would gather a sharded one:
    `custom_partitioning` gives every device the loop over what it holds. `shared` operands are whole everywhere. The
    result is an array with the batch in front, or a pair: a tuple of such arrays, and a sum over the samples.
    `anywhere` computes the same without such a loop, and stands in under `vmap`.
    """
    operands = (*batched, *shared)

    @custom_vmap
    def run(*operands):
        mesh = jax.sharding.get_abstract_mesh()
        if not mesh.empty and set(mesh.axis_types) != {AxisType.Auto}:
            return function(*operands)  # Inside a shard_map, or under Explicit axes that leave the batch whole.
        if known_batch_of_one(batched[0].shape[0]):
            return function(*operands)  # Nothing to split; a TPU program could not be compiled ahead of time.
        return _partitioned(function, len(batched), operands)

    @run.def_vmap
    def mapped(size, is_mapped, *operands):
        y = jax.vmap(anywhere, [0 if m else None for m in is_mapped], axis_size=size)(*operands)
        return y, jax.tree.map(lambda _: True, y)

    return run(*operands)


def _partitioned(function, num_batched, operands):
    """The call as a `custom_partitioning`: batched operands and results are split alike, over the batch alone."""
    shapes, tree = jax.tree.flatten(jax.eval_shape(function, *operands))
    # A pair is (batched arrays, sum).
    sums = len(shapes) - 1 if len(shapes) > 1 else len(shapes)

    def flat(*operands):
        return tuple(jax.tree.leaves(function(*operands)))

    def axes(arguments):
        """The mesh axes that split the batch of any batched operand."""
        specs = (s.sharding.spec for s in arguments[:num_batched] if isinstance(s.sharding, NamedSharding))
        return next((spec[0] for spec in specs if len(spec) and spec[0] is not None), None)

    def results(mesh, arguments, _):
        batch, whole = NamedSharding(mesh, PartitionSpec(axes(arguments))), NamedSharding(mesh, PartitionSpec())
        return tuple(batch if i < sums else whole for i in range(len(shapes)))

    def partition(mesh, arguments, result_shapes):
        names = axes(arguments)
        batch, whole = NamedSharding(mesh, PartitionSpec(names)), NamedSharding(mesh, PartitionSpec())

        def local(*operands):
            y = flat(*operands)
            return y if names is None else (*y[:sums], *(lax.psum(total, names) for total in y[sums:]))

        split = tuple(batch if i < num_batched else whole for i in range(len(arguments)))
        return mesh, local, results(mesh, arguments, result_shapes), split

    # Shardy's rule in words: the first axes of batched arrays are one factor, all other axes their own.
    names = iter(f'd{i}' for i in itertools.count())

    def term(ndim, is_batched):
        return ' '.join('b' if axis == 0 and is_batched else next(names) for axis in range(ndim))

    left = ', '.join(term(o.ndim, i < num_batched) for i, o in enumerate(operands))
    right = ', '.join(term(y.ndim, i < sums) for i, y in enumerate(shapes))
    call = custom_partitioning(flat)
    call.def_partition(partition=partition, infer_sharding_from_operands=results, sharding_rule=f'{left} -> {right}')
    return jax.tree.unflatten(tree, call(*operands))


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

    return [None if o is None else _to_vary(o, axes) for o in operands]


def _to_vary(array, axes):
    """The array, varying over these manual mesh axes too."""
    missing = tuple(sorted(axes - _varying(array)))
    return lax.pcast(array, missing, to='varying') if missing else array
