"""Several processes as one program: how they find each other, who writes, and how they agree."""

import os
import re

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# What a cluster sets for each of several processes; JAX's own detection reads the rest from it.
_SIGNS = ('JAX_COORDINATOR_ADDRESS', 'OMPI_MCA_orte_hnp_uri', 'OMPI_MCA_PRRTE_HNP_URI')
# A process that ends, for an error too, waits so long for the others to end; then JAX ends them all.
_PATIENCE = 60


def initialize(parallel):
    """Start `jax.distributed` as the settings (`settings.Parallel`) say; call it before any array is made.

    With addresses, they are used. Without, 'on' leaves it to JAX, which knows SLURM, Open MPI, Kubernetes and Cloud
    TPU; 'auto' does so only where the environment names a coordinator, several SLURM tasks or several TPU hosts.
    A process that ends alone, by an error of its host, is followed by the others within a minute.

    Returns whether there are several processes. Raises ValueError for addresses that are incomplete, and where there
    are several processes, as on a TPU pod whose environment does not say so, without being told.
    """
    given = (parallel.coordinator, parallel.num_processes, parallel.process_id)
    if parallel.distributed == 'off':
        return False
    if any(value is not None for value in given):
        if None in given:
            raise ValueError(
                'coordinator, num_processes and process_id must be given together, got '
                f'coordinator={given[0]!r}, num_processes={given[1]}, process_id={given[2]}'
            )
        if not re.fullmatch(r'.+:\d+', given[0]):
            raise ValueError(f'coordinator must be address:port, got {given[0]!r}')
        if given[2] >= given[1]:
            raise ValueError(f'process_id must be below num_processes = {given[1]}, got {given[2]}')
        _join(*given)
    elif parallel.distributed == 'on' or _in_a_cluster(os.environ):
        _join()
    several = jax.process_count() > 1
    if several and not jax.distributed.is_initialized():
        raise ValueError(
            f"distributed must be 'on': this is one of {jax.process_count()} processes, but nothing in the environment "
            f'says how they find each other; got {parallel.distributed!r}'
        )
    return several


def _join(*addresses):
    try:
        jax.distributed.initialize(*addresses, shutdown_timeout_seconds=_PATIENCE)
    except RuntimeError as error:
        raise ConnectionError(f'the processes do not find each other: {error}') from error


def _in_a_cluster(environment):
    several_tasks = int(environment.get('SLURM_NTASKS', environment.get('SLURM_NPROCS', '1')) or 1) > 1
    # The script of a batch job has a number too, but is no task of a step.
    inside_a_task = 'SLURM_PROCID' in environment and 'SLURM_STEP_NODELIST' in environment
    hosts = environment.get('TPU_WORKER_HOSTNAMES', '').split(',')
    return (
        any(environment.get(sign) for sign in _SIGNS)
        or (several_tasks and inside_a_task)
        or len([host for host in hosts if host]) > 1
    )


def is_first():
    """Whether this process writes files and lines: the first of all."""
    return jax.process_index() == 0


class Agreement:
    """Whether any process wants something, known to all: the answers are the same on each.

    All processes must ask equally often. In one process the answer is the wish.
    """

    def __init__(self):
        self._sum, self._pending = None, None
        if jax.process_count() > 1:
            devices = [
                next(device for device in jax.devices() if device.process_index == process)
                for process in range(jax.process_count())
            ]
            self._mesh = Mesh(np.array(devices), ('process',))
            self._split = NamedSharding(self._mesh, PartitionSpec('process'))
            whole = NamedSharding(self._mesh, PartitionSpec())
            self._sum = jax.jit(lambda wishes: wishes.sum(), out_shardings=whole)

    def ask(self, wish):
        """Whether any process's `wish` is true; waits for all."""
        if self._sum is None:
            return bool(wish)
        return int(self._send(wish)) > 0

    def ask_ahead(self, wish):
        """The answer to the wishes of the call before this one, which needs no waiting; False at first."""
        if self._sum is None:
            return bool(wish)
        answer, self._pending = self._pending, self._send(wish)
        return answer is not None and int(answer) > 0

    def _send(self, wish):
        shape = (jax.process_count(),)
        wishes = jax.make_array_from_callback(shape, self._split, lambda index: np.array([bool(wish)], np.int32))
        with jax.set_mesh(self._mesh):  # Not the one of the training steps.
            return self._sum(wishes)
