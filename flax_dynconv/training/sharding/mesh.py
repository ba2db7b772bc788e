"""The mesh of a run: its devices along the axes 'data', 'fsdp' and 'model'."""

import math

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

AXES = ('data', 'fsdp', 'model')


def make_mesh(sizes=(-1, 1, 1), devices=None):
    """A mesh with the axes ('data', 'fsdp', 'model') of these sizes, with Auto axis types.

    One size may be -1: as many as are left. `devices` defaults to all of every process; a product that is smaller
    than their number takes the first of them, in a single process only. On TPU neighbours in the mesh are neighbours
    in the torus.

    Raises ValueError for sizes that the devices cannot have.

    >>> dict(make_mesh((-1, 1, 1), jax.devices()[:1]).shape)
    {'data': 1, 'fsdp': 1, 'model': 1}
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes, count = tuple(sizes), len(devices)
    if len(sizes) != len(AXES) or sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise ValueError(f'mesh must be three sizes >= 1 for {AXES}, of which one may be -1, got {sizes}')
    if -1 in sizes:
        known = -math.prod(sizes)
        if count % known:
            raise ValueError(f'mesh must divide the {count} devices, got {sizes}')
        sizes = tuple(count // known if size == -1 else size for size in sizes)
    used = math.prod(sizes)
    several_hosts = len({device.process_index for device in devices}) > 1
    if used > count or (used < count and several_hosts):
        raise ValueError(f'mesh must have {"all" if several_hosts else "at most"} {count} devices, got {sizes}')
    types = (AxisType.Auto,) * len(AXES)
    return Mesh(mesh_utils.create_device_mesh(sizes, devices[:used]), AXES, axis_types=types)
