"""Reading jaxprs."""

import jax


def equations(jaxpr):
    """All equations of a jaxpr, inner ones too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, 'eqns') or hasattr(p, 'jaxpr')):
            inner = getattr(inner, 'jaxpr', inner)
            if hasattr(inner, 'eqns'):
                yield from equations(inner)
