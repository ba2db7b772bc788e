"""Where a training state and its batches lie: mesh, (regex, tactic) rules, presets, placement, and what travels."""

from flax_dynconv.training.sharding.collectives import Collective, collectives
from flax_dynconv.training.sharding.mesh import AXES, make_mesh
from flax_dynconv.training.sharding.placement import Placement
from flax_dynconv.training.sharding.presets import PRESETS
from flax_dynconv.training.sharding.rules import TACTICS, apply_rules

__all__ = ['AXES', 'PRESETS', 'TACTICS', 'Collective', 'Placement', 'apply_rules', 'collectives', 'make_mesh']
