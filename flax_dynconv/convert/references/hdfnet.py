"""HDFNet: the modules of lartpang/HDFNet, `DepthDC3x3_1` to `DenseTransLayer`."""

from flax_dynconv.convert.arguments import REQUIRED, Signature, positive_int
from flax_dynconv.convert.errors import ConversionError
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references import _vgg
from flax_dynconv.convert.references._common import BATCH_NORM, dtype_fields
from flax_dynconv.convert.references._networks import CONV
from flax_dynconv.convert.rules import mount
from flax_dynconv.layers import DDPM as DDPMLayer
from flax_dynconv.layers import DenseLayer as DenseLayerModule
from flax_dynconv.layers import DenseTransLayer as DenseTransModule
from flax_dynconv.layers import DepthDC

# `BasicConv2d`: convolution, norm and activation.
BASIC = (*mount(CONV, 'basicconv.0', 'conv'), *mount(BATCH_NORM, 'basicconv.1', 'bn'))
_DENSE = (
    *mount(_vgg.BIASED, 'down', 'down'),
    *mount(BASIC, 'denseblock.{i}', 'denseblock_{i}'),
    *mount(BASIC, 'fuse', 'fuse'),
)
DENSE_TRANS = (
    *mount(BASIC, 'fuse_down_mul', 'fuse_down_mul'),
    *mount(_DENSE, 'res_main', 'res_main'),
    *mount(BASIC, 'fuse_main', 'fuse_main'),
)
_DEPTH_DC = (
    *mount(_vgg.BIASED, 'fuse', 'fuse'),
    *mount(_vgg.BIASED, 'gernerate_kernel.0', 'generate_kernel_0'),
    *mount(_DENSE, 'gernerate_kernel.1', 'generate_kernel_1'),
    *mount(_vgg.BIASED, 'gernerate_kernel.2', 'generate_kernel_2'),
)
DDPM_RULES = (
    *mount(_vgg.BIASED, 'down_input', 'down_input'),
    *mount(_DEPTH_DC, 'branch_{d}', 'branch_{d}'),
    *mount(BASIC, 'fuse', 'fuse'),
)
_DENSE_MODULES = (ModuleRule('denseblock.{i}', 'denseblock_{i}'), ModuleRule('fuse', 'fuse'))
_DDPM_MODULES = (ModuleRule('branch_{d}', 'branch_{d}'), ModuleRule('fuse', 'fuse'))
_TWO = ('channels_first', 'channels_first')


def _signature(**defaults):
    return Signature(defaults, dict.fromkeys(defaults, positive_int))


def _sizes(*channels):
    return lambda args: tuple((2, 9, 8, args[name]) for name in channels)


def _dense(args, dtype, param_dtype):
    fields = {'down_factor': args['down_factor'], 'num_blocks': args['k'], **dtype_fields(dtype, param_dtype)}
    return DenseLayerModule(args['out_C'], **fields)


DENSE_LAYER = Reference(
    signature=_signature(in_C=REQUIRED, out_C=REQUIRED, down_factor=4, k=4),
    build=_dense,
    rules=lambda args: _DENSE,
    example=_sizes('in_C'),
    modules=lambda args: _DENSE_MODULES,
)


def _dense_trans(args, dtype, param_dtype):
    if args['in_C'] < args['out_C']:
        raise ConversionError(f"argument 'in_C': expected at least out_C = {args['out_C']}, got {args['in_C']}")
    return DenseTransModule(args['out_C'], **dtype_fields(dtype, param_dtype))


DENSE_TRANS_LAYER = Reference(
    signature=_signature(in_C=REQUIRED, out_C=REQUIRED),
    build=_dense_trans,
    rules=lambda args: DENSE_TRANS,
    example=_sizes('in_C', 'in_C'),
    inputs=_TWO,
    modules=lambda args: (ModuleRule('res_main', 'res_main'), ModuleRule('fuse_{n:[a-z_]+}', 'fuse_{n:[a-z_]+}')),
)


def depth_dc(dilation: int) -> Reference:
    """The reference of one dilation."""

    def build(args, dtype, param_dtype):
        fields = {'num_blocks': args['down_factor'], **dtype_fields(dtype, param_dtype)}
        return DepthDC(args['out_C'], dilation, **fields)

    return Reference(
        signature=_signature(in_xC=REQUIRED, in_yC=REQUIRED, out_C=REQUIRED, down_factor=4),
        build=build,
        rules=lambda args: _DEPTH_DC,
        example=_sizes('in_xC', 'in_yC'),
        inputs=_TWO,
        modules=lambda args: (ModuleRule('gernerate_kernel.1', 'generate_kernel_1'),),
    )


def _ddpm(args, dtype, param_dtype):
    return DDPMLayer(args['out_C'], num_blocks=args['down_factor'], **dtype_fields(dtype, param_dtype))


# `kernel_size` is an argument that the module does not use.
DDPM = Reference(
    signature=_signature(in_xC=REQUIRED, in_yC=REQUIRED, out_C=REQUIRED, kernel_size=3, down_factor=4),
    build=_ddpm,
    rules=lambda args: DDPM_RULES,
    example=_sizes('in_xC', 'in_yC'),
    inputs=_TWO,
    modules=lambda args: _DDPM_MODULES,
)
