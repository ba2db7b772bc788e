"""References that tests alone need: networks of which nobody published PyTorch code, as the mirrors here name them."""

from typing import NamedTuple

from flax import linen as nn

from flax_dynconv.convert.references import _resnet
from flax_dynconv.convert.references._networks import CONV, LINEAR, norm
from flax_dynconv.convert.references.timm_efficientnet import _network_rules
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import Transform, conv_kernel, identity, kernel_bank, linear
from flax_dynconv.models import mobilenet_v1, mobilenet_v2
from flax_dynconv.models.dynet_mobile import dynet_mobilenetv2
from flax_dynconv.models.dynet_resnet import dynet_resnet
from flax_dynconv.models.mnasnet import STAGES as MNASNET_STAGES
from flax_dynconv.models.mnasnet import condconv_mnasnet_a1
from flax_dynconv.models.resnets import condconv_resnet
from tests.torch_mirrors import condconv_mobilenet_v2, dynet, mnasnet
from tests.torch_mirrors import condconv_resnet as mirror_resnet
from tests.torch_mirrors import mobilenet_v1 as mirror_v1

CLASSES, EXPERTS, GROUP = 5, 3, 2


class Unpublished(NamedTuple):
    """A mirror, the network here, and the table between their weights."""

    mirror: object
    model: nn.Module
    rules: tuple[Rule, ...]


# A static kernel or a bank of them, by the number of axes.
_EITHER = Transform(
    lambda x: (kernel_bank if x.ndim == 5 else conv_kernel).to_flax(x),
    lambda x: (kernel_bank if x.ndim == 5 else conv_kernel).to_torch(x),
)
EITHER = (Rule('weight', 'params/kernel', _EITHER),)
ROUTING = (
    Rule('routing_fn.weight', 'params/routing/kernel', linear),
    Rule('routing_fn.bias', 'params/routing/bias', identity),
)
# (K, classes, C) <-> (K, 1, 1, C, classes)
ROUTED_LINEAR = (
    Rule(
        'weight',
        'params/kernel',
        Transform(lambda x: x.swapaxes(1, 2)[:, None, None], lambda x: x[:, 0, 0].swapaxes(1, 2)),
    ),
    Rule('bias', 'params/bias', identity),
    *ROUTING,
)
# (Cout * g, Cin/groups, k, k), the kernel index fastest, <-> (g, k, k, Cin/groups, Cout)
_BY_CHANNEL = Transform(
    lambda x: x.reshape(-1, GROUP, *x.shape[1:]).transpose(1, 3, 4, 2, 0),
    lambda x: x.transpose(4, 0, 3, 1, 2).reshape(-1, x.shape[3], *x.shape[1:3]),
)
DYNET = (Rule('weight', 'params/kernel', _BY_CHANNEL),)


def resnet_with_condconv():
    """The last three blocks and the classifier of a narrow ResNet-18."""
    rules = (
        *(rule for rule in _resnet.rules(EITHER) if not rule.torch.startswith('fc.')),
        *mount(ROUTING, 'layer{s}.{b}', 'layer{s}_{b}'),
        *mount(ROUTED_LINEAR, 'fc', 'fc'),
    )
    model = condconv_resnet(18, num_kernels=EXPERTS, num_classes=CLASSES, features=8)
    return Unpublished(mirror_resnet.condconv_resnet18(num_classes=CLASSES, experts=EXPERTS, base=8), model, rules)


def _places(stages):
    return [f'blocks_{s}_{i}' for s, row in enumerate(stages) for i in range(row.repeats)]


def mobilenetv1_with_condconv():
    """TensorFlow's padding and norms, as the network here has them."""
    rules = [
        *mount(CONV, 'stem', 'stem'),
        *norm('stem_bn', 'stem_bn'),
        *mount(ROUTED_LINEAR, 'classifier', 'classifier'),
    ]
    for n, place in enumerate(_places(mobilenet_v1.STAGES)):
        rules += [
            *mount(EITHER, f'blocks.{n}.dw', f'{place}/depthwise'),
            *norm(f'blocks.{n}.bn1', f'{place}/depthwise_bn'),
        ]
        rules += [*mount(EITHER, f'blocks.{n}.pw', f'{place}/project'), *norm(f'blocks.{n}.bn2', f'{place}/project_bn')]
        rules += mount(ROUTING, f'blocks.{n}', place)
    tf = {'pad_type': 'same', 'bn_eps': 1e-3, 'bn_momentum': 0.01, 'act': 'ReLU6'}
    mirror = mirror_v1.MobileNetV1(CLASSES, 0.25, EXPERTS, **tf)
    model = mobilenet_v1.condconv_mobilenetv1(num_kernels=EXPERTS, num_classes=CLASSES, width=0.25)
    return Unpublished(mirror, model, tuple(rules))


def mobilenetv2_with_condconv():
    """The last six blocks and the classifier of a narrow MobileNetV2."""
    rules = [*mount(CONV, 'features.0.0', 'stem'), *norm('features.0.1', 'stem_bn')]
    for n, place in enumerate(_places(mobilenet_v2.STAGES), start=1):
        names = ('expand', 'depthwise') if n > 1 else ('depthwise',)
        for j, name in enumerate(names):
            rules += [*mount(EITHER, f'features.{n}.conv.{j}.0', f'{place}/{name}')]
            rules += [*norm(f'features.{n}.conv.{j}.1', f'{place}/{name}_bn')]
        j = len(names)
        rules += [*mount(EITHER, f'features.{n}.conv.{j}', f'{place}/project')]
        rules += [*norm(f'features.{n}.conv.{j + 1}', f'{place}/project_bn'), *mount(ROUTING, f'features.{n}', place)]
    rules += [*mount(CONV, 'features.18.0', 'head'), *norm('features.18.1', 'head_bn')]
    rules += mount(ROUTED_LINEAR, 'classifier.1', 'classifier')
    mirror = condconv_mobilenet_v2.condconv_mobilenet_v2(CLASSES, 0.25, 0.0, EXPERTS)
    model = mobilenet_v2.condconv_mobilenetv2(num_kernels=EXPERTS, num_classes=CLASSES, width=0.25)
    return Unpublished(mirror, model, tuple(rules))


def mnasnet_with_condconv():
    """The last three stages and the classifier; stem, padding and norms as TensorFlow's."""
    rules = [rule for rule in _network_rules(MNASNET_STAGES, EXPERTS, 6) if not rule.torch.startswith('classifier')]
    settings = {'experts': EXPERTS, 'pad_type': 'same', 'bn_eps': 1e-3, 'bn_momentum': 0.01}
    mirror = mnasnet.mnasnet_a1(CLASSES, **settings)
    model = condconv_mnasnet_a1(num_kernels=EXPERTS, num_classes=CLASSES)
    return Unpublished(mirror, model, (*rules, *mount(ROUTED_LINEAR, 'classifier', 'classifier')))


def dynet_resnet18():
    """A narrow Dy-ResNet18."""
    rules = (
        *_resnet.rules(DYNET),
        *mount(LINEAR, 'layer{s}.{b}.coefficients.hidden', 'layer{s}_{b}/routing/hidden'),
        *mount(LINEAR, 'layer{s}.{b}.coefficients.out', 'layer{s}_{b}/routing/logits'),
    )
    model = dynet_resnet(18, num_kernels=GROUP, min_hidden=1, num_classes=CLASSES, features=16, stem_features=32)
    return Unpublished(dynet.dynet_resnet18(num_classes=CLASSES, group_size=GROUP, stem=32, base=16), model, rules)


def dynet_mobile():
    """A narrow Dy-mobile."""
    rules = [*mount(CONV, 'stem', 'stem'), *norm('stem_bn', 'stem_bn')]
    for n, place in enumerate(_places(mobilenet_v2.STAGES)):
        for j, name in enumerate(('expand', 'depthwise', 'project'), start=1):
            rules += [
                *mount(DYNET, f'blocks.{n}.conv{j}', f'{place}/{name}'),
                *norm(f'blocks.{n}.bn{j}', f'{place}/{name}_bn'),
            ]
        rules += mount(LINEAR, f'blocks.{n}.coefficients.out', f'{place}/routing/logits')
    rules += [*mount(CONV, 'head', 'head'), *norm('head_bn', 'head_bn'), *mount(LINEAR, 'classifier', 'classifier')]
    mirror = dynet.DyMobile(CLASSES, 1.0, GROUP, head=64)
    model = dynet_mobilenetv2(num_kernels=GROUP, num_classes=CLASSES, head_features=64)
    return Unpublished(mirror, model, tuple(rules))


NETWORKS = {
    'condconv_resnet18': resnet_with_condconv,
    'condconv_mobilenetv1': mobilenetv1_with_condconv,
    'condconv_mobilenetv2': mobilenetv2_with_condconv,
    'condconv_mnasnet_a1': mnasnet_with_condconv,
    'dynet_resnet18': dynet_resnet18,
    'dynet_mobilenetv2': dynet_mobile,
}
