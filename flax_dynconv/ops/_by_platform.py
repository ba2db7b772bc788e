"""ByPlatform: several forms as one, of which the platform at lowering decides."""

import dataclasses
import functools

from flax_dynconv.ops._dispatch import by_platform


def one_form(forms: tuple):
    """The only form of ((platform, form), ..), or all as one."""
    return forms[0][1] if len(forms) == 1 else ByPlatform(forms)


@dataclasses.dataclass(frozen=True)
class ByPlatform:
    """((platform, form), ..), one of them for 'default', as one form of `_bilinear`."""

    forms: tuple

    def apply(self, spec, out_dtype, x, w):
        """The platform's F(x, w)."""
        return self._run(lambda form: functools.partial(form.apply, spec, out_dtype), x, w)

    def adjoint_x(self, spec, out_dtype, y, w):
        """The platform's adjoint of F(., w)."""
        return self._run(lambda form: functools.partial(form.adjoint_x, spec, out_dtype), y, w)

    def adjoint_w(self, spec, out_dtype, x, y):
        """The platform's adjoint of F(x, .)."""
        return self._run(lambda form: functools.partial(form.adjoint_w, spec, out_dtype), x, y)

    def adjoints(self, spec, x_dtype, w_dtype, x, w, y):
        """Both adjoints of the platform's form, at once where it can."""

        def both(form):
            if hasattr(form, 'adjoints'):
                return functools.partial(form.adjoints, spec, x_dtype, w_dtype)
            return lambda x, w, y: (form.adjoint_x(spec, x_dtype, y, w), form.adjoint_w(spec, w_dtype, x, y))

        return self._run(both, x, w, y)

    def _run(self, branch, *operands):
        return by_platform({platform: branch(form) for platform, form in self.forms}, *operands)
