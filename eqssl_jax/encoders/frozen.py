"""An encoder that is done with training: any number of images in, arrays out."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from eqssl_jax.encoders.inputs import Images, check_images

# One batch of float32 images to what each layer gives, from the first to the last, among them
# "features" and "embedding".
Forward = Callable[[Any], Mapping[str, Any]]
BATCH = 256


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Images [N, H, W, C] in [0, 1] to features [N, F]; N may be any number, from one call to next.

    Results are float32: NumPy's for NumPy images, JAX's for JAX images. Images are encoded at most
    `batch` at a time. A compiled encoder sees few sizes of batches (a last batch is padded), so it
    is compiled at most `log₄ batch + 1` times; it may also be called inside `jax.jit` and
    `jax.grad`, which a callable of the host (`host.host_encoder`) may not.

    Attributes:
      name: what tables and figures call it.
      origin: where it came from, e.g. "step 200 of runs/care".
      forward: one batch of float32 images to layers by name, unchecked.
      image_shape: (height, width, channels) of its images, or (points, 4); None: any.
      mean, std: per channel, which it subtracts and divides by itself; () where unknown.
      classes: names of the classes of the data it was trained on; () where unknown.
      batch: most images of one call of `forward`.
      compiled: whether `forward` is a function of JAX.
      untrained: gives `forward` of the same network before any training; None: not known.
    """

    name: str
    origin: str
    forward: Forward
    image_shape: tuple[int, ...] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    batch: int = BATCH
    compiled: bool = True
    untrained: Callable[[], Forward] | None = None

    def __repr__(self) -> str:
        """Without the weights: `Encoder("care": step 200 of runs/care, images [N, 32, 32, 3])`."""
        shape = ", ".join(map(str, self.image_shape)) if self.image_shape else "any size"
        return f'Encoder("{self.name}": {self.origin}, images [N, {shape}])'

    def __call__(self, images: Float[Images, "n h w c"]) -> Float[Images, "n f"]:
        """The features, before the projector."""
        return self.features(images)

    def features(self, images: Float[Images, "n h w c"]) -> Float[Images, "n f"]:
        """What comes before the projector.

        Raises:
          ValueError: for images that the encoder was not made for (`inputs.check_images`).
        """
        return self._run(images, ("features",))["features"]

    def embeddings(self, images: Float[Images, "n h w c"]) -> Float[Images, "n d"]:
        """What comes after the projector, not normalised; the features where there is none.

        Raises:
          ValueError: as `features`.
        """
        return self._run(images, ("embedding",))["embedding"]

    def layers(self, images: Float[Images, "n h w c"]) -> dict[str, Float[Images, "n h"]]:
        """Every layer by name from the first to the last, among them "features" and "embedding".

        Raises:
          ValueError: as `features`.
        """
        return self._run(images, None)

    def _run(self, images: Any, names: tuple[str, ...] | None) -> dict[str, Any]:
        # One that normalises nothing (mean 0, std 1) takes images that were normalised before.
        plain = bool(self.mean) and not any(self.mean) and set(self.std) == {1.0}
        check_images(images, self.image_shape, unit_range=not plain)
        if isinstance(images, jax.core.Tracer):
            return self._traced(images, names)
        stored: dict[str, list[Any]] = OrderedDict()
        device = isinstance(images, jax.Array)
        for count, part in _batches(images, self.batch, pad=self.compiled):
            outputs = _compiled(self.forward, part) if self.compiled else self.forward(part)
            for name in outputs if names is None else names:
                rows = outputs[name][:count]
                stored.setdefault(name, []).append(rows if device else np.asarray(rows))
        join = jnp.concatenate if device else np.concatenate
        return OrderedDict((name, join(parts)) for name, parts in stored.items())

    def _traced(self, images: Array, names: tuple[str, ...] | None) -> dict[str, Any]:
        if not self.compiled:
            raise ValueError(
                f"The encoder {self.name!r} runs on the host ({self.origin}) and cannot be called "
                f"inside jax.jit, jax.grad or jax.vmap: call it on NumPy arrays."
            )
        outputs = self.forward(images.astype(jnp.float32))
        return OrderedDict((n, outputs[n]) for n in (outputs if names is None else names))


def compiled_encoder(
    forward: Callable[..., Mapping[str, Any]], *weights: Any, **fields: Any
) -> Encoder:
    """An `Encoder` of a function of JAX, `forward(*weights, images)`; weights are no constants."""
    return Encoder(forward=Partial(forward, *jax.device_put(weights)), **fields)


@jax.jit
def _compiled(forward: Partial, images: Float[Array, "b h w c"]) -> dict[str, Array]:
    outputs = forward(images)
    return OrderedDict((name, value.astype(jnp.float32)) for name, value in outputs.items())


def _batches(images: Images, batch: int, *, pad: bool) -> Iterator[tuple[int, Any]]:
    """Parts of at most `batch` images as float32, with how many of each are not padding."""
    for start in range(0, len(images), batch):
        part: Any = images[start : start + batch].astype(np.float32)
        count = len(part)
        if pad and count < batch:
            size = min(batch, 4 ** int(np.ceil(np.log(count) / np.log(4) - 1e-9)))
            pad_rows = jnp.pad if isinstance(part, jax.Array) else np.pad
            part = pad_rows(part, ((0, size - count), *[(0, 0)] * (part.ndim - 1)), mode="edge")
        yield count, part
