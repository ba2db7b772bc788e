"""Reading the arrays of a checkpoint onto any mesh, and knowing whether they are those that were saved."""

import jax

from flax_dynconv.training import agreement
from flax_dynconv.training.checkpoint_record import Damaged
from flax_dynconv.training.fingerprint import fingerprint, named_leaves


def read(folder, template, record):
    """The state in `folder`, on the devices of `template`; raises `Damaged`, in all processes if in one.

    `template` is a tree of `jax.ShapeDtypeStruct`; leaves without a sharding come onto one device.
    """
    import orbax.checkpoint as ocp

    wanted = {name: _on_a_device(leaf) for name, leaf in named_leaves(template).items()}
    arrays, damage = None, None
    try:
        # The handler and not a manager: it has no barrier, which a process that fails would never reach.
        arrays = ocp.StandardCheckpointHandler().restore(folder, args=ocp.args.StandardRestore(not_empty(wanted)))
    except Exception as error:
        if isinstance(_root(error), (jax.errors.JaxRuntimeError, MemoryError)):
            raise  # The machine's fault and not the checkpoint's.
        damage = reason(error)
    if (damage := agreement.first_not_none(damage)) is not None:
        raise Damaged(f'{folder.parent} is damaged ({damage})')
    leaves = [arrays[name] if leaf.size else _empty(leaf) for name, leaf in wanted.items()]
    state = jax.tree.unflatten(jax.tree.structure(template), leaves)
    changed = [name for name, bits in fingerprint(state).items() if bits != record['arrays'][name][2]]
    if changed:
        raise Damaged(
            f'{folder.parent} is damaged (the bits of {len(changed)} arrays are not those that were saved; the first '
            f'is {changed[0]})'
        )
    return state


def not_empty(arrays):
    """Those that have elements: orbax refuses the others, and the record has their shapes.

    >>> import numpy as np
    >>> list(not_empty({'a': np.zeros(2), 'b': np.zeros((0, 2))}))
    ['a']
    """
    return {name: leaf for name, leaf in arrays.items() if leaf.size}


def reason(error):
    """The cause of an error of orbax in a line, without the specification that TensorStore adds.

    >>> reason(ValueError('Error reading "a" [tensorstore_spec={...}]'))
    'ValueError: Error reading "a"'
    """
    error = _root(error)
    text = ' '.join(str(error).split(' [tensorstore_spec', maxsplit=1)[0].split())
    return f'{type(error).__name__}: {text[:500]}'


def _root(error):
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _on_a_device(leaf):
    """The shape with a sharding: without one, orbax would want the devices that saved it."""
    sharding = getattr(leaf, 'sharding', None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _empty(leaf):
    return jax.jit(lambda: jax.numpy.zeros(leaf.shape, leaf.dtype), out_shardings=leaf.sharding)()
