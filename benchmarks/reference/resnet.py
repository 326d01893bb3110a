"""ResNets with the stem for small images, and the projector of the CARE paper.

resnet_tiny is the package's own: one block a stage, of few channels.
"""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)
SHAPES = {  # bottlenecks, blocks of each stage, channels
    "resnet_tiny": (False, (1, 1, 1, 1), (16, 32, 48, 128)),
    "resnet18": (False, (2, 2, 2, 2), WIDTHS),
    "resnet50": (True, (3, 4, 6, 3), WIDTHS),
}


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(outputs)]


def projection(inputs: int) -> nn.Sequential:
    """From features to embeddings of 128 dimensions by way of 512."""
    return nn.Sequential(
        nn.Linear(inputs, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 128)
    )


class Block(nn.Module):
    """x + two convolutions 3×3, or 1×1, 3×3, 1×1 (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        relu = nn.ReLU()
        layers = (
            [*_conv(inputs, width, 1), relu, *_conv(width, width, 3, stride), relu]
            if bottleneck
            else [*_conv(inputs, width, 3, stride), relu]
        )
        self.body = nn.Sequential(*layers, *_conv(width, outputs, 1 if bottleneck else 3))
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else nn.Sequential(*_conv(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


class ResNet(nn.Module):
    """Images [N, 3, H, W] to (features, embeddings); a stem of 3×3, stride 1, without pooling."""

    def __init__(self, name: str):
        super().__init__()
        bottleneck, depths, widths = SHAPES[name]
        inputs = widths[0]
        layers = [*_conv(3, inputs, 3), nn.ReLU()]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            for block in range(depth):
                stride = 2 if stage and not block else 1
                layers.append(Block(inputs, width, stride, bottleneck))
                inputs = 4 * width if bottleneck else width
        self.body = nn.Sequential(*layers)
        self.projector = projection(inputs)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images).mean(dim=(2, 3))
        return features, self.projector(features)
