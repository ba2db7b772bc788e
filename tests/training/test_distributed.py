"""Whether this is one process of several, by flags and by the environment; and what is wrong with either."""

import jax
import pytest

from flax_dynconv.training import distributed
from flax_dynconv.training.settings import Parallel


@pytest.fixture
def started(monkeypatch):
    """The arguments of each start of JAX's runtime, which is not started; of several processes of a cluster, none."""
    calls = []
    monkeypatch.setattr(jax.distributed, 'initialize', lambda *args, **kwargs: calls.append(args))
    for name in ('SLURM_NTASKS', 'SLURM_NPROCS', 'TPU_WORKER_HOSTNAMES', *distributed._SIGNS):
        monkeypatch.delenv(name, raising=False)
    return calls


@pytest.mark.parametrize(
    ('environment', 'several'),
    [
        ({}, False),
        ({'JAX_COORDINATOR_ADDRESS': '10.0.0.1:1234'}, True),
        ({'OMPI_MCA_orte_hnp_uri': '1;tcp://10.0.0.1:1234'}, True),
        ({'TPU_WORKER_HOSTNAMES': 'localhost'}, False),
        ({'TPU_WORKER_HOSTNAMES': 'a,b'}, True),
        ({'SLURM_NTASKS': '4', 'SLURM_PROCID': '2', 'SLURM_STEP_NODELIST': 'node[1-2]'}, True),
        ({'SLURM_NTASKS': '1', 'SLURM_PROCID': '0', 'SLURM_STEP_NODELIST': 'node1'}, False),
        # What the script of a batch job sees: four tasks were asked for, and none was started.
        ({'SLURM_NTASKS': '4', 'SLURM_PROCID': '0'}, False),
        ({'SLURM_NTASKS': '4'}, False),
    ],
)
def test_the_environment_says_whether_there_are_others(environment, several, started, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    distributed.initialize(Parallel())
    assert started == [()] * several
    distributed.initialize(Parallel(distributed='off'))
    assert len(started) == several


def test_flags_go_before_the_environment(started, monkeypatch):
    monkeypatch.setenv('JAX_COORDINATOR_ADDRESS', '10.0.0.1:1234')
    distributed.initialize(Parallel(coordinator='10.0.0.2:1', num_processes=2, process_id=1))
    distributed.initialize(Parallel(distributed='on'))
    assert started == [('10.0.0.2:1', 2, 1), ()]


def test_incomplete_addresses_are_refused(started):
    with pytest.raises(ValueError, match=r"must be given together, got coordinator='a:1', num_processes=2, .*=None"):
        distributed.initialize(Parallel(coordinator='a:1', num_processes=2))
    with pytest.raises(ValueError, match=r'process_id must be below num_processes = 2, got 2'):
        distributed.initialize(Parallel(coordinator='a:1', num_processes=2, process_id=2))
    assert started == []


def test_others_that_nobody_spoke_of_are_noticed(started, monkeypatch):
    """A TPU pod is one by itself; orbax needs JAX's own runtime besides."""
    monkeypatch.setattr(jax, 'process_count', lambda: 4)
    with pytest.raises(ValueError, match=r"distributed must be 'on': this is one of 4 processes, .* got 'auto'"):
        distributed.initialize(Parallel())


def test_processes_that_do_not_find_each_other_are_said(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError('DEADLINE_EXCEEDED: 10.0.0.1:1')

    monkeypatch.setattr(jax.distributed, 'initialize', fail)
    with pytest.raises(ConnectionError, match=r'the processes do not find each other: DEADLINE_EXCEEDED'):
        distributed.initialize(Parallel(coordinator='10.0.0.1:1', num_processes=2, process_id=1))
