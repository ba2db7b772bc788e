"""Networks of every family as small as their fields allow, with random variables, for tests that run them."""

import re

import jax
import numpy as np

from flax_dynconv.models import create_model, static_twin

IMAGES = np.random.default_rng(1).standard_normal((8, 16, 16, 2)).astype(np.float32)


def tiny(name, **overrides):
    """A network of the family of `name` as small as its fields allow: two blocks of few channels, few kernels."""
    if not name.endswith('_1x') and static_twin(name) != name:
        overrides['num_kernels'] = 2
    if re.match('dyconv_|dynet_resnet', name):
        overrides['reduction'] = 1.0  # Two hidden units may be dead for all images.
    model = create_model(name, 3, **{'width': 1 / 8, **overrides})
    smaller = {'head_features': 16, 'hidden_features': 16, 'stem_features': 8}
    fields = {field: size for field, size in smaller.items() if getattr(model, field, 0)}
    if hasattr(model, 'stage_sizes'):
        fields['stage_sizes'] = (1, 1)
    if hasattr(model, 'stages'):
        # The first row and the last, which has what is new in it (squeeze-and-excitation, another activation).
        fields['stages'] = (model.stages[0], model.stages[-1]._replace(repeats=1, strides=2))
    if model.dynamic_blocks is not None:
        fields['dynamic_blocks'] = 1
    return model.clone(**fields)


def quick(function):
    """Compiled without optimisation: these programs run a few times."""
    return jax.jit(function, compiler_options={'xla_backend_optimization_level': 0})


def initial(model):
    """Random parameters and the other variables; drawn here, for compiling the initialisation takes longer."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = path[-1].key
        if name == 'kernel':
            return rng.normal(0, (2 * leaf.shape[-1] / leaf.size) ** 0.5, leaf.shape).astype(leaf.dtype)
        return np.full(leaf.shape, {'bias': 0.1, 'mean': 0.0}.get(name, 1.0), leaf.dtype)

    variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    variables = jax.tree_util.tree_map_with_path(draw, variables)
    return variables.pop('params'), variables
