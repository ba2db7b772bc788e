"""Print the tables of docs/models.md: parameters, multiply-adds and PyTorch reference of every network."""

import jax
import jax.numpy as jnp

from flax_dynconv import count, create_model, list_models, preprocessing
from flax_dynconv.convert import PRETRAINED
from flax_dynconv.models import FRAME_PREDICTORS, INSTANCE_NETWORKS, SALIENCY_NETWORKS, SEGMENTERS, SteerableFilter

# References that are no networks of `load_pretrained`.
_REFERENCES = {
    'SteerableFilter': 'dfn.SteerableFilter',
    'dfn_moving_mnist': 'dfn.MovingMNIST',
    'dfn_highway': 'dfn.Highway',
    'dfn_stereo': 'dfn.Stereo',
    'hdfnet_vgg16': 'hdfnet.HDFNet_VGG16',
    'hdfnet_vgg19': 'hdfnet.HDFNet_VGG19',
    'hdfnet_resnet50': 'hdfnet.HDFNet_Res50',
    'condinst_resnet50': 'condinst.CondInst',
    'condinst_resnet101': 'condinst.CondInst',
}
# Frames that the published networks are given.
_GIVEN = {'dfn_moving_mnist': 10, 'dfn_highway': 3, 'dfn_stereo': 1}


def main():
    """Count every network at its image size, then those that generate filters at their inputs."""
    print('| name | pixels | parameters | multiply-adds | PyTorch reference |')
    print('|---|---:|---:|---:|---|')
    for name in list_models():
        size = preprocessing(name).image_size
        print(_row(name, size, create_model(name), _array(1, size, size, 3)))
    print()
    print('| name | input | parameters | multiply-adds | PyTorch reference |')
    print('|---|---|---:|---:|---|')
    for name in SEGMENTERS:
        print(_row(name, '512 x 1024 pixels', create_model(name), _array(1, 512, 1024, 3)))
    for name, make in SALIENCY_NETWORKS.items():
        print(_row(name, '320 x 320 pixels, depth', make(), _array(1, 320, 320, 3), _array(1, 320, 320, 1)))
    for name, make in INSTANCE_NETWORKS.items():
        height, width = (800, 1344) if name in _REFERENCES else (128, 128)
        print(_row(name, f'{height} x {width} pixels', make(), _array(1, height, width, 3)))
    for name, make in FRAME_PREDICTORS.items():
        given = _GIVEN[name.removesuffix('_baseline')]
        frames = f'{given} frame{"s" * (given > 1)} of 64 x 64'
        print(_row(name, frames, make(), _array(1, given, 64, 64, 1)))
    print(_row('SteerableFilter', '64 x 64 pixels, an angle', SteerableFilter(), _array(1, 64, 64, 1), _array(1)))


def _array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _row(name, size, model, *inputs):
    report = count(model, *inputs)
    reference = PRETRAINED[name][0] if name in PRETRAINED else _REFERENCES.get(name)
    cells = (f'`{name}`', size, f'{report.parameters:,}', f'{report.multiply_adds / 1e6:,.1f} M')
    return '| ' + ' | '.join(map(str, cells)) + f' | {f"`{reference}`" if reference else ""} |'


if __name__ == '__main__':
    main()
