"""y = F(x, w) with own gradients: F and its two adjoints are bilinear, and each one's VJP is made of the other two.

    apply(x, w) = y     adjoint_x(y, w) = x     adjoint_w(x, y) = w
    <apply(x, w), y> = <x, adjoint_x(y, w)> = <w, adjoint_w(x, y)>

So gradients of gradients never leave the fast forms. A form is a module (or frozen object) with three functions of
these names, each called as f(spec, out_dtype, first, second). It may have a fourth, for both adjoints at once:
adjoints(spec, x_dtype, w_dtype, x, w, y).
"""

import functools

import jax


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def apply(form, spec, out_dtype, x, w):
    """F(x, w)."""
    return form.apply(spec, out_dtype, x, w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def adjoint_x(form, spec, out_dtype, y, w):
    """The adjoint of F(., w)."""
    return form.adjoint_x(spec, out_dtype, y, w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def adjoint_w(form, spec, out_dtype, x, y):
    """The adjoint of F(x, .)."""
    return form.adjoint_w(spec, out_dtype, x, y)


def _keep_operands(function):
    def forward(form, spec, out_dtype, first, second):
        return function(form, spec, out_dtype, first, second), (first, second)

    return forward


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _adjoints(form, spec, x, w, y):
    return form.adjoints(spec, x.dtype, w.dtype, x, w, y)


def _adjoints_fwd(form, spec, x, w, y):
    return _adjoints(form, spec, x, w, y), (x, w, y)


def _adjoints_vjp(form, spec, operands, tangents):
    (x, w, y), (t, v) = operands, tangents
    dy = apply(form, spec, y.dtype, t, w) + apply(form, spec, y.dtype, x, v)
    return adjoint_x(form, spec, x.dtype, y, v), adjoint_w(form, spec, w.dtype, t, y), dy


_adjoints.defvjp(_adjoints_fwd, _adjoints_vjp)


def _apply_vjp(form, spec, out_dtype, operands, g):
    x, w = operands
    if hasattr(form, 'adjoints'):
        return _adjoints(form, spec, x, w, g)
    return adjoint_x(form, spec, x.dtype, g, w), adjoint_w(form, spec, w.dtype, x, g)


def _adjoint_x_vjp(form, spec, out_dtype, operands, t):
    y, w = operands
    return apply(form, spec, y.dtype, t, w), adjoint_w(form, spec, w.dtype, t, y)


def _adjoint_w_vjp(form, spec, out_dtype, operands, v):
    x, y = operands
    return adjoint_x(form, spec, x.dtype, y, v), apply(form, spec, y.dtype, x, v)


apply.defvjp(_keep_operands(apply), _apply_vjp)
adjoint_x.defvjp(_keep_operands(adjoint_x), _adjoint_x_vjp)
adjoint_w.defvjp(_keep_operands(adjoint_w), _adjoint_w_vjp)
