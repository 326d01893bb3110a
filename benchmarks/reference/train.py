"""SimCLR or CARE, trained in PyTorch on images in memory."""

import math
import time
from typing import NamedTuple

import numpy as np
import torch

from reference import augment
from reference.models import Network, care


class Recipe(NamedTuple):
    """What one training does; λ = 0 is SimCLR, in two views."""

    batch: int
    steps: int
    rate: float  # of Adam at the start; falls to 0 as half a cosine
    decay: float  # L2, in the gradient
    temperature: float
    weight: float  # λ
    groups: int  # images of one share the draws of the equivariance views, and are compared
    projector: tuple[int, int]
    size: int  # of the views
    mean: tuple[float, ...]
    std: tuple[float, ...]


def optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)


def rate(recipe: Recipe, step: int) -> float:
    """Of the step with this number, from 0."""
    return recipe.rate * (1 + math.cos(math.pi * step / recipe.steps)) / 2


def update(
    network: Network, adam: torch.optim.Optimizer, views: list, recipe: Recipe, step: int
) -> dict[str, float]:
    """One step on rendered views; the losses before it."""
    for group in adam.param_groups:
        group["lr"] = rate(recipe, step)
    loss, parts = care(network, views, (recipe.temperature, recipe.weight, recipe.groups))
    adam.zero_grad()
    loss.backward()
    adam.step()
    return {name: value.item() for name, value in parts.items()}


def render(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> list[torch.Tensor]:
    """Two views with a draw for each image and, in CARE, two with a draw for each group."""
    count = len(images)
    drawn = [augment.draw(count, generator) for _ in range(2)]
    if recipe.weight:
        drawn += [augment.shared(count, recipe.groups, generator) for _ in range(2)]
    return [augment.apply(draw, images, recipe.size) for draw in drawn]


def train(images: np.ndarray, recipe: Recipe, seed: int) -> tuple[Network, list[dict[str, float]]]:
    """Train on uint8 images [N, H, W, 3]; the network, and the losses of every 20th step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed + 1_000_000)
    network = Network(recipe.mean, recipe.std, projector=recipe.projector).train()
    adam = optimizer(network, recipe)
    pool = torch.tensor(images).permute(0, 3, 1, 2)
    epoch_steps = len(pool) // recipe.batch  # steps of an epoch; what is left over is dropped
    history = []
    for step in range(recipe.steps):
        if step % epoch_steps == 0:
            order = torch.randperm(len(pool), generator=generator)
        chosen = order[step % epoch_steps * recipe.batch :][: recipe.batch]
        views = render(pool[chosen].float() / 255, recipe, generator)
        losses = update(network, adam, views, recipe, step)
        if step % 20 == 19:
            history.append({"step": step + 1, **losses})
            print(step + 1, losses["loss"], round(time.process_time(), 1), flush=True)
    return network, history
