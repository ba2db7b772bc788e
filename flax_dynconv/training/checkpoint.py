"""Training states on disk, written and read by orbax."""

from pathlib import Path

import jax


def save(path, state):
    """Write every array of `state` into the new folder `path`; returns when it is complete on disk."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(path).absolute(), _as_dict(state))
        checkpointer.wait_until_finished()


def restore(path, template):
    """The state saved in `path`; `template` is one of the same structure, of arrays or `jax.ShapeDtypeStruct`s.

    Raises FileNotFoundError if there is no checkpoint, ValueError if it holds other arrays than the template.
    """
    import orbax.checkpoint as ocp

    path = Path(path).absolute()
    if not path.is_dir():
        raise FileNotFoundError(f'there is no checkpoint at {path}')
    abstract = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in _as_dict(template).items()}
    with ocp.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(path, abstract)
    return jax.tree.unflatten(jax.tree.structure(template), [restored[name] for name in abstract])


def _as_dict(state):
    """Leaves under their path: the folder then says what is in it, whatever classes the optimiser's state has."""
    leaves, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in leaves}
