"""torchvision's VGGs with batch norms."""

from functools import partial

from torch import nn

SIZES = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def stages(sizes, base=64, inputs=3):
    """A list of layers for each stage; all but the first begin with the pooling."""
    lists = []
    for stage, size in enumerate(sizes):
        layers = [nn.MaxPool2d(2)] if stage else []
        for _ in range(size):
            outputs = base * min(2**stage, 8)
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        lists.append(layers)
    return lists


class VGG(nn.Module):
    def __init__(self, sizes, num_classes=1000, dropout=0.5, base=64, hidden=4096):
        super().__init__()
        self.features = nn.Sequential(*(layer for stage in stages(sizes, base) for layer in stage), nn.MaxPool2d(2))
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        last = base * min(2 ** (len(sizes) - 1), 8)
        self.classifier = nn.Sequential(
            *(nn.Linear(49 * last, hidden), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


vgg16_bn, vgg19_bn = (partial(VGG, sizes) for sizes in SIZES.values())
