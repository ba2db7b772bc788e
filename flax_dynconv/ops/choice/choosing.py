"""The choice: the candidate of the least predicted time; a name and a tuning file override it.

It is made at every trace of every layer, hence plain arithmetic: no call into JAX, about 0.1 ms.
"""

from flax_dynconv.ops.choice.autotune import Autotune
from flax_dynconv.ops.choice.candidates import CANDIDATES, PLATFORMS
from flax_dynconv.ops.choice.case import Case
from flax_dynconv.ops.choice.constants import cpu, gpu, tpu
from flax_dynconv.ops.choice.work import weighted

# Seconds for each unit of every kind of work.
CONSTANTS = {'cpu': cpu.SECONDS, 'tpu': tpu.SECONDS, 'default': gpu.SECONDS}

# The work that decides, of (forward, forward with gradients).
PASSES = {
    'both': lambda work: work[1],
    'forward': lambda work: work[0],
    'backward': lambda work: weighted([(1, work[1]), (-1, work[0])]),
}


def forms(case: Case, implementation, passes: str = 'both') -> tuple:
    """((platform, form), ..) for `by_platform`, 'default' last."""
    if isinstance(implementation, str):
        return (('default', case.forms[implementation]),)
    names = chosen(case, implementation, passes)
    usual = names.pop('default')
    others = tuple((platform, case.forms[name]) for platform, name in names.items() if name != usual)
    return (*others, ('default', case.forms[usual]))


def chosen(case: Case, autotune: Autotune | None = None, passes: str = 'both') -> dict[str, str]:
    """The form's name on every platform, for 'both' passes, or 'forward' or 'backward' alone.

    A single pass counts on CPU only: the constants of the other platforms are not measured, too coarse for differences.
    """
    names = {platform: candidates(case, platform) for platform in PLATFORMS}
    compared = {name for several in names.values() if len(several) > 1 for name in several}
    works = {name: case.work(name) for name in compared}

    def fastest(platform, several):
        if len(several) == 1:
            return several[0]
        decisive = PASSES[passes if platform == 'cpu' else 'both']
        return min(several, key=lambda name: seconds(decisive(works[name]), platform))

    taken = {platform: fastest(platform, several) for platform, several in names.items()}
    return taken if autotune is None else taken | autotune.measured(case, candidates)


def candidates(case: Case, platform: str) -> list[str]:
    """The forms that may be chosen on the platform: they do not decline the case and nothing speaks against them."""
    names = CANDIDATES[case.operator][platform]
    return [name for name in names if case.declines(name) is None and case.avoids(name, platform) is None]


def avoided(case: Case, name: str, platform: str) -> str | None:
    """Why a form that can do the case is no candidate on the platform for it; None for what never is one."""
    if name not in CANDIDATES[case.operator][platform] or case.declines(name) is not None:
        return None
    return case.avoids(name, platform)


def seconds(work: dict[str, float], platform: str) -> float:
    """The predicted time of some work."""
    constants = CONSTANTS[platform]
    return sum(amount * constants[kind] for kind, amount in work.items())
