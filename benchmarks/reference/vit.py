"""ViT-Ti/4 in PyTorch from `torch.nn`'s own blocks, for its speed alone."""

import torch
from torch import Tensor, nn

from reference.resnet import projection

WIDTH, DEPTH, HEADS, PATCH = 192, 12, 3, 4  # DeiT-Ti (Touvron et al. 2020, arXiv:2012.12877)


class ViT(nn.Module):
    """Patches and a class token through blocks that normalise first; features, embeddings."""

    def __init__(self, size: int):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.start = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // PATCH) ** 2, WIDTH))
        block = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", layer_norm_eps=1e-6,
            batch_first=True, norm_first=True,
        )  # fmt: skip
        last = nn.LayerNorm(WIDTH, eps=1e-6)
        self.blocks = nn.TransformerEncoder(block, DEPTH, last, enable_nested_tensor=False)
        self.projector = projection(WIDTH)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.patches((images - 0.5) / 0.25).flatten(2).transpose(1, 2) + self.positions
        x = torch.cat([self.start.expand(len(x), 1, WIDTH), x], dim=1)
        features = self.blocks(x)[:, 0].float()
        return features, self.projector(features)
