"""y = F(x, w) as a JAX primitive, with the transposes of `_bilinear` and also with forward mode.

`jax.custom_vjp` gives up `jax.jvp`; that is too much to lose for what stands in for one of JAX's own operations.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def bilinear_primitive(name: str, on_cpu, default) -> Primitive:
    """F(x, w, spec=spec, out_dtype=dtype) of two forms, each with functions as `_bilinear` has them.

    The platform is that of the lowering. x and y have the batch in front, which w has not: what `jax.vmap` maps over
    joins the batch as long as it does not map over w.
    """
    apply, adjoint_x, adjoint_w = (
        _primitive(f'{name}_{part}', getattr(on_cpu, part), getattr(default, part), shape)
        for part, shape in (('apply', _y_shape), ('adjoint_x', _x_shape), ('adjoint_w', _w_shape))
    )
    # The transposes of each with respect to its first and second operand; g is the cotangent of its result.
    _transposes(apply, lambda g, w: (adjoint_x, (g, w)), lambda g, x: (adjoint_w, (x, g)))
    _transposes(adjoint_x, lambda g, w: (apply, (g, w)), lambda g, y: (adjoint_w, (g, y)))
    _transposes(adjoint_w, lambda g, y: (adjoint_x, (y, g)), lambda g, x: (apply, (x, g)))
    return apply


def _y_shape(spec, batch):
    return batch, *spec.out_spatial, spec.out_features


def _x_shape(spec, batch):
    return batch, *spec.in_spatial, spec.in_features


def _w_shape(spec, batch):
    return spec.kernel_shape


def _primitive(name, on_cpu, default, shape):
    primitive = Primitive(name)

    def abstract(first, second, *, spec, out_dtype):
        # Made of an operand, whose mesh axes the result varies over; arrays of all three kinds have as many axes.
        return first.update(shape=shape(spec, first.shape[0]), dtype=jnp.dtype(out_dtype), weak_type=False)

    def anywhere(first, second, *, spec, out_dtype):
        branches = {'cpu': on_cpu, 'default': default}
        branches = {platform: functools.partial(form, spec, out_dtype) for platform, form in branches.items()}
        return lax.platform_dependent(first, second, **branches)

    def mapped(operands, axes, *, spec, out_dtype):
        if shape is _w_shape or axes[1] is not None:
            run = functools.partial(anywhere, spec=spec, out_dtype=out_dtype)
            return jax.vmap(run, axes)(*operands), 0
        # Behind the batch, so that a sharded batch stays sharded.
        first = jnp.moveaxis(operands[0], axes[0], 1)
        batch, size = first.shape[:2]
        first = first.reshape(batch * size, *first.shape[2:])
        result = primitive.bind(first, operands[1], spec=spec, out_dtype=out_dtype)
        return result.reshape(batch, size, *result.shape[1:]), 1

    def lowering(form):
        return mlir.lower_fun(lambda *operands, spec, out_dtype: form(spec, out_dtype, *operands), False)

    primitive.def_abstract_eval(abstract)
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=('spec', 'out_dtype')))
    batching.primitive_batchers[primitive] = mapped
    mlir.register_lowering(primitive, lowering(default))
    mlir.register_lowering(primitive, lowering(on_cpu), platform='cpu')
    return primitive


def _transposes(primitive, of_first, of_second):
    def rule(call, undefined):
        def transpose(cotangent, *operands, spec, out_dtype):
            other, dtype = operands[1 - undefined], operands[undefined].aval.dtype
            target, operands = call(cotangent, other)
            return target.bind(*operands, spec=spec, out_dtype=dtype)

        return transpose

    ad.defbilinear(primitive, rule(of_first, 0), rule(of_second, 1))
