"""The small encoder and its projector, and the losses of SimCLR and CARE, in PyTorch."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Network(nn.Module):
    """Four convolutions 3×3 of stride 2, each with BatchNorm and ReLU; mean; MLP with BatchNorm.

    Images [N, 3, H, W] in [0, 1] are normalised by `mean` and `std` first. Convolutions start as
    N(0, 2 / (9 · outputs)) (He et al. 2015, arXiv:1502.01852), dense layers as PyTorch has them.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        widths: Sequence[int] = (16, 32, 64, 128),
        projector: tuple[int, int] = (256, 64),
    ):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        inputs = (3, *widths[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False)
            for i, o in zip(inputs, widths, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        hidden, outputs = projector
        self.dense1 = nn.Linear(widths[-1], hidden, bias=False)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.dense2 = nn.Linear(hidden, outputs)
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, F] and embeddings [N, D], not normalised."""
        x = (images - self.mean) / self.std
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        features = x.mean(dim=(2, 3))
        return features, self.dense2(F.relu(self.bn1(self.dense1(features))))

    def named(self) -> dict[str, Tensor]:
        """Parameters and running averages under the package's names, in PyTorch's layout."""
        modules = {f"encoder/conv{i}": conv for i, conv in enumerate(self.convs, 1)}
        modules |= {f"encoder/bn{i}": norm for i, norm in enumerate(self.norms, 1)}
        modules |= {
            f"projector/{name}": getattr(self, name) for name in ("dense1", "bn1", "dense2")
        }
        named: dict[str, Tensor] = {}
        for path, module in modules.items():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                named |= {
                    f"params/{path}/scale": module.weight,
                    f"params/{path}/bias": module.bias,
                    f"batch_stats/{path}/mean": module.running_mean,
                    f"batch_stats/{path}/var": module.running_var,
                }
                continue
            named[f"params/{path}/kernel"] = module.weight
            if module.bias is not None:
                named[f"params/{path}/bias"] = module.bias
        return named

    def to_flax(self) -> dict[str, np.ndarray]:
        """All weights by the package's names and in its layout: kernels [k, k, in, out], [in, out].

        `from_flax` is the way back.
        """
        return flax_layout(self.named())

    def named_weights(self) -> dict[str, Tensor]:
        """Parameters alone, by name."""
        return {name: x for name, x in self.named().items() if name.startswith("params/")}

    def from_flax(self, weights: dict[str, np.ndarray]) -> "Network":
        with torch.no_grad():
            for name, parameter in self.named().items():
                parameter.copy_(torch.tensor(_turned(weights[name], (3, 2, 0, 1))))
        return self


def flax_layout(named: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors in PyTorch's layout as arrays in that of flax."""
    return {name: _turned(x.detach().numpy(), (2, 3, 1, 0)) for name, x in named.items()}


def _turned(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    if x.ndim < 2:
        return x.copy()
    return np.ascontiguousarray(x.transpose(axes) if x.ndim == 4 else x.T)


def info_nce(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """−log( e^{s⁺/τ} / Σ_{j ≠ i} e^{s_j/τ} ), the mean over the 2N anchors; z of length 1."""
    z = torch.cat([z1, z2])
    count = len(z)
    logits = (z @ z.T / temperature).masked_fill(
        torch.eye(count, dtype=torch.bool, device=z.device), -torch.inf
    )
    partner = (torch.arange(count, device=z.device) + count // 2) % count
    return F.cross_entropy(logits, partner)


def equivariance(z1: Tensor, z2: Tensor, groups: int) -> Tensor:
    """2 · mean_i Σ_{j ≠ i} (z1_i·z1_j − z2_i·z2_j)² of each group of images, the mean over groups.

    The scale is that of CARE's code (Sharut/CARE @ 7090100), to which its λ belongs.
    """
    first, second = (z.reshape(groups, -1, z.shape[-1]) for z in (z1, z2))
    square = (first @ first.mT - second @ second.mT).square()
    off_diagonal = square.sum(dim=(1, 2)) - square.diagonal(dim1=1, dim2=2).sum(dim=1)
    return 2 * off_diagonal.mean() / first.shape[1]


def care(network: nn.Module, views: Sequence[Tensor], settings: tuple) -> tuple[Tensor, dict]:
    """L_InfoNCE + λ L_equi of rendered views; two views and λ = 0 are SimCLR.

    Every view has a forward pass, and so BatchNorm statistics, of its own: four in CARE.
    `settings` are τ, λ and the number of groups.
    """
    temperature, weight, groups = settings
    z = [F.normalize(network(view)[1], dim=1) for view in views]
    parts = {"info_nce": info_nce(z[0], z[1], temperature)}
    if len(z) == 4:
        parts["equivariance"] = equivariance(z[2], z[3], groups)
    total = parts["info_nce"] + weight * parts.get("equivariance", 0.0)
    return total, {"loss": total, **parts}
