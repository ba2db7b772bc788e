"""Autotune: the fastest form by measurement, kept in a file."""

import dataclasses
import os

from flax_dynconv.ops.choice import measuring, tuning_file
from flax_dynconv.ops.choice.case import Case


@dataclasses.dataclass(frozen=True)
class Autotune:
    """`implementation=Autotune(path)`: what was fastest on this kind of machine, measured where the file has no answer.

    choice = argmin over the candidate forms of the median seconds of forward and gradient

    Args:
      path: a JSON file in an existing directory; made at the first measurement. An entry belongs to one operator, its
        static sizes with the batch and dtype, the kind of device (on CPU with the number of cores) and the version of
        JAX.

    A missing entry is measured while the call is traced: every candidate is compiled and run on normal arrays of the
    whole batch on one device, which takes seconds for every new shape, gigabytes for large ones, and should have the
    machine for itself. Worth it for a training that runs for hours, or on a machine unlike the ones whose constants
    `None` uses; the file can be kept with the code or copied to machines of the same kind, where nothing is measured
    any more. Nothing is measured for a symbolic batch, nor in a run of several processes, which must all compile the
    same program: there a missing entry means the choice of `None`, and the file must be the same for all. On other
    platforms than the measured one the choice is that of `None` too.

    A layer takes it as its field `implementation`.

    Raises:
      TypeError: the path is not a path.
      ValueError: at the call, a file that cannot be written or is not of this kind.

    Example:
      >>> import pathlib, tempfile
      >>> import jax.numpy as jnp
      >>> from flax_dynconv import ops
      >>> path = pathlib.Path(tempfile.mkdtemp()) / 'forms.json'
      >>> x, kernel = jnp.ones((2, 4, 4, 3)), jnp.ones((2, 1, 1, 3, 5))
      >>> ops.per_sample_conv(x, kernel, implementation=ops.Autotune(path)).shape, path.exists()
      ((2, 4, 4, 5), True)

    Reference: none; the idea is that of cuDNN's benchmark mode in PyTorch.
    """

    path: str

    def __post_init__(self):
        if not isinstance(self.path, str | os.PathLike):
            raise TypeError(f'path: expected a path, got {type(self.path).__name__}')
        object.__setattr__(self, 'path', os.fspath(self.path))

    def measured(self, case: Case, candidates) -> dict[str, str]:
        """{platform: the fastest form}, from the file or measured now; nothing where the model's choice is to stay.

        `candidates(case, platform)` are the forms in question.
        """
        if not case.known:
            return {}
        platform = measuring.platform()
        names = candidates(case, platform)
        entry = {names[0]: 0.0} if len(names) == 1 else self.entry(case, names)
        if entry is None:
            if measuring.several_processes():
                return {}
            tuning_file.check_writable(self.path)
            entry = measuring.measure(case, names)
            tuning_file.add(self.path, measuring.key(case), entry)
        return {platform: min(entry, key=entry.get)}

    def entry(self, case: Case, names: list[str]) -> dict[str, float] | None:
        """Seconds of these forms from the file; None where it does not have them all."""
        found = tuning_file.read(self.path).get(measuring.key(case), {})
        return {name: found[name] for name in names} if found.keys() >= set(names) else None
