"""Callables of the host as encoders: PyTorch, ONNX Runtime, an HTTP client, plain NumPy.

Such a function is given NumPy images, float32 [n, H, W, C] in [0, 1], and gives features [n, F]; or
(features, embeddings); or a mapping of layers by name, from the first to the last, among them
"features". It is called with real arrays, never traced, and what it gives is checked.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from eqssl_jax.encoders.frozen import BATCH, Encoder

# Of what an image's features may differ between two batches of one size, in standard deviations of
# each dimension over the images; and between sizes, where half precision and TensorFloat-32 sum in
# another order, in units of the root mean square of all.
TOLERANCE = 0.02
NOISE = 1e-5  # of float32, in units of the magnitude of a dimension
PROBED = 8  # images that are encoded in batches of several sizes
MEMORY = ("out of memory", "resource_exhausted", "alloc_failed", "bad_alloc")


def host_encoder(
    function: Callable[[np.ndarray], Any],
    *,
    name: str,
    origin: str = "a function",
    image_shape: tuple[int, ...] | None = None,
    batch: int = BATCH,
) -> Encoder:
    """An `Encoder` of a function on NumPy arrays; its faults are found as it is called.

    Before the first call with two images or more, up to 8 of them are put to `prove`; that batch,
    and a later one four times as large, are then encoded once more with every second image
    replaced: an encoder is a function of one image, whatever else is in the batch.

    Raises:
      ValueError: for what cannot be called. Calls raise it, one paragraph
        each, for outputs that are no arrays of real numbers [n, F], hold NaN or infinity, have
        another number of rows than there are images or another width or other layers than before,
        or depend on the batch; and for whatever the function itself raises.
    """
    if not callable(function):
        raise ValueError(
            f"{origin} is {type(function).__name__}, which cannot be called: an encoder is a "
            f"function of NumPy images [n, H, W, C] in [0, 1] that gives features [n, F]."
        )
    widths: dict[str, int] = {}
    largest = 0  # batch that was proved

    def call(images: np.ndarray) -> dict[str, Float[np.ndarray, "n h"]]:
        return _call(function, images, name)

    def forward(images: Any) -> dict[str, Float[np.ndarray, "n h"]]:
        nonlocal largest
        images = np.asarray(images)
        if not largest and len(images) > 1:
            prove(call, images[:PROBED], name)
            largest = len(images[:PROBED])
        outputs = call(images)
        if largest and len(images) > PROBED and (largest <= PROBED or len(images) >= 4 * largest):
            _prove_neighbours(call, images, outputs, name)
            largest = len(images)
        present = {layer: value.shape[1] for layer, value in outputs.items()}
        if widths and present != widths:
            raise ValueError(
                f"The encoder {name!r} gave layers of widths {widths} before and {present} now: "
                f"every image needs the same features. Does it flatten maps of images of another "
                f"size, or drop what is constant in a batch?"
            )
        widths.update(present)
        return outputs

    return Encoder(name, origin, forward, image_shape, batch=batch, compiled=False)


def _call(
    function: Callable[[np.ndarray], Any], images: np.ndarray, name: str
) -> dict[str, Float[np.ndarray, "n h"]]:
    try:
        # A copy: a function that works in place must not change the images of the next one.
        result = function(np.array(images, np.float32))
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())[:300]
        if isinstance(error, MemoryError) or any(word in text.lower() for word in MEMORY):
            raise ValueError(
                f"The encoder {name!r} has no memory left for {len(images)} images ({text}): use a "
                f"smaller batch. JAX reserves most of a GPU when it starts: set "
                f"XLA_PYTHON_CLIENT_PREALLOCATE=false, or JAX_PLATFORMS=cpu to leave it all."
            ) from error
        raise ValueError(
            f"The encoder {name!r} failed on images {images.shape} with {type(error).__name__}: "
            f"{text or 'no message'}."
        ) from error
    return OrderedDict(
        (layer, _real(value, len(images), f"The encoder {name!r}", layer))
        for layer, value in _by_layer(result, name).items()
    )


def _by_layer(result: Any, name: str) -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        if "features" not in result:
            raise ValueError(
                f"The encoder {name!r} gave layers without 'features', found {list(result)[:10]}: "
                f"name so what comes before the projector or classifier."
            )
        last = {} if "embedding" in result else {"embedding": result["features"]}
        return OrderedDict({**result, **last})
    if isinstance(result, tuple) and len(result) == 2:
        return OrderedDict(features=result[0], embedding=result[1])
    return OrderedDict(features=result, embedding=result)


def _real(value: Any, count: int, who: str, layer: str) -> Float[np.ndarray, "n h"]:
    """One output as float32 [n, h]."""
    array = _on_host(value, who, layer)
    if array.dtype.kind not in "fiuV" or (array.dtype.kind == "V" and array.dtype.names):
        raise ValueError(
            f"{who} gave {layer} of dtype {array.dtype}: features are real numbers, an array "
            f"[n, F] of floats. A list of arrays needs np.stack."
        )
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(
            f"{who} gave {layer} of shape {array.shape} for {count} images: features are [n, F]. "
            f"Maps need a mean over their positions, or to be flattened."
        )
    if len(array) != count:
        raise ValueError(
            f"{who} gave {len(array)} rows of {layer} for {count} images: it must give one row an "
            f"image, in their order."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).any(1).sum())
        kind = "NaN" if np.isnan(array).any() else "infinite values"
        raise ValueError(
            f"{who} gave {kind} in the {layer} of {bad} of {count} images in [0, 1]: half "
            f"precision overflows, and a normalisation by 0 divides by zero."
        )
    return array


def _on_host(value: Any, who: str, layer: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except Exception as error:  # of PyTorch and CuPy: gradients, devices
        where = f" on {value.device}" if hasattr(value, "device") else ""
        text = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{who} gave {layer} as {type(value).__module__}.{type(value).__name__}{where}, which "
            f"NumPy cannot read ({text}): bring it to the host. In PyTorch, compute under "
            f"torch.no_grad() and end with .cpu().numpy()."
        ) from error


def prove(call: Callable[[Any], Mapping[str, Any]], images: np.ndarray, name: str) -> None:
    """That features are of one image: beside other images, and in batches of other sizes.

    Raises:
      ValueError: for widths or values that change with the batch.
    """
    whole = call(images)
    cut = -(-len(images) // 3)
    back = images[::-1]
    parts = [call(part) for part in (back[:cut], back[cut:])]
    for layer, rows in whole.items():
        widths = [rows.shape[1], *(part[layer].shape[1] for part in parts if layer in part)]
        if len(widths) < 3 or len(set(widths)) > 1:
            raise ValueError(
                f"The encoder {name!r} changes its {layer} with the batch: widths {widths} for "
                f"{len(images)}, {cut} and {len(images) - cut} images. Every image needs the same."
            )
        reversed_rows = np.concatenate([part[layer] for part in parts])[::-1]
        size = float(np.sqrt(np.mean(np.square(rows, dtype=np.float64))))
        # Of the image that changes most: a single one may depend on its neighbours.
        change = float(np.sqrt(np.square(rows - reversed_rows, dtype=np.float64).mean(1).max()))
        if change > TOLERANCE * size:
            _refuse(
                name, f"the {layer} of the same {len(images)} images, encoded at once and in two "
                f"parts, differ by up to {change / size:.0%} of their size"
            )  # fmt: skip
    _prove_neighbours(call, images, whole, name)


def _prove_neighbours(
    call: Callable[[Any], Mapping[str, Any]],
    images: np.ndarray,
    whole: Mapping[str, Any],
    name: str,
) -> None:
    """That images keep the features `whole` where every second of them is replaced by the first.

    The size of the batch and the places in it stay, so arithmetic does, in any precision, and what
    changes is measured beside the spread of each dimension over the images, which no offset hides.
    """
    changed = np.array(images)
    changed[1::2] = images[0]
    for layer, rows in call(changed).items():
        before = np.asarray(whole[layer], np.float64)
        change = np.abs(np.asarray(rows, np.float64) - before)[::2].max(0)
        noise = NOISE * np.maximum(np.abs(before).max(0), np.sqrt(np.mean(before**2)))
        spread = before.std(0)
        worst = int(np.argmax(change - noise - TOLERANCE * spread))
        if change[worst] > noise[worst] + TOLERANCE * spread[worst]:
            _refuse(
                name, f"with every second of {len(images)} images replaced, dimension {worst} of "
                f"the {layer} of the others changes by up to {change[worst]:.2g}, where its "
                f"standard deviation over the images is {spread[worst]:.2g}"
            )  # fmt: skip


def _refuse(name: str, fault: str) -> None:
    raise ValueError(
        f"The encoder {name!r} depends on the batch: {fault} (allowed: {TOLERANCE:.0%}). Put it in "
        f"evaluation mode (model.eval()): BatchNorm by running averages, no dropout, nothing "
        f"normalised over the batch."
    )
