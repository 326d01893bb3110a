r"""Handmade encoders whose equivariance is known: a colour histogram and HOG (scikit-image).

    PYTHONPATH=benchmarks python -m eqssl_jax.measure --encoder=known_ground:colour_histogram \
        --data=images.npz --recipe=known_ground:known_ground --out=measured
"""

import io
import itertools

import numpy as np
from PIL import Image
from skimage.color import rgb2hsv
from skimage.feature import hog

from eqssl_jax import transforms


def colour_histogram(images):
    """Soft histogram of hue (16 bins, weighted by chroma) and of value (16 bins): [n, 32]."""
    out = []
    for image in images:
        hsv = rgb2hsv(np.clip(image, 0, 1))
        rows = []
        for x, w, bins, cyclic in (
            (hsv[..., 0], hsv[..., 1] * hsv[..., 2], 16, True),
            (hsv[..., 2], np.ones(hsv.shape[:2]), 16, False),
        ):
            place = x.ravel() * (bins if cyclic else bins - 1)
            low = np.floor(place).astype(int)
            part = place - low
            high = (low + 1) % bins if cyclic else np.minimum(low + 1, bins - 1)
            low = low % bins
            h = np.bincount(low, w.ravel() * (1 - part), bins) + np.bincount(
                high, w.ravel() * part, bins
            )
            rows.append(h / x.size)
        out.append(np.concatenate(rows))
    return np.stack(out).astype(np.float32)


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


def untrained_resnet18():
    """ResNet-18 with a projector, before any training (7x7 stem)."""
    import jax

    from eqssl_jax import encoders
    from eqssl_jax.encoders.frozen import compiled_encoder

    net = encoders.build(
        encoder="resnet18",
        stem="imagenet",
        projector=(64,),
        projector_batch_norm=True,
        mean=(0.49, 0.48, 0.45),
        std=(0.25, 0.24, 0.26),
        compute_dtype="float32",
        conv="auto",
    )
    v = net.init(jax.random.key(0), (32, 32, 3))
    return compiled_encoder(
        net.layers,
        v["params"],
        v["batch_stats"],
        name="untrained_resnet18",
        origin="ResNet-18 before training, seed 0",
        image_shape=(32, 32, 3),
    )


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
