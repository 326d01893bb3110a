"""Frozen features of a split: read in fixed-size batches, encoded once, kept on the host."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from eqssl_jax.data.base import Split
from eqssl_jax.encoders.frozen import Encoder
from eqssl_jax.transforms.base import Params, Transform

# Images [B, H, W, C] in [0, 1] to (features [B, H], embeddings [B, D]), frozen BatchNorm inside.
# Written as `jax.tree_util.Partial(forward, variables)` its weights are arguments of the compiled
# program: new weights (the next checkpoint, the untrained floor) then need no new compilation.
Encode = Callable[[Float[Array, "b h w c"]], tuple[Float[Array, "b features"], Float[Array, "b d"]]]
# Images [B, H, W, C] in [0, 1] to what each layer says, [B, h] by name from the first layer to the
# last, among them "features" and "embedding", in an OrderedDict (jit sorts the keys of a dict).
# Written as `jax.tree_util.Partial(network.layers, params, batch_stats)`, as an `Encode` is.
Layers = Callable[[Float[Array, "b h w c"]], Mapping[str, Float[Array, "b h"]]]


class EncoderFault(ValueError):
    """An encoder fails, or gives NaN or infinite values: nothing can be measured of it."""


class Features(NamedTuple):
    """What an encoder says of N examples; row i belongs to example `indices[i]` of the split.

    Attributes:
      features: before the projector, float32 [N, H].
      embeddings: after the projector, not normalised, float32 [N, D].
      indices: which examples of the split, int [N]; labels are `split.labels[indices]`.
    """

    features: Float[np.ndarray, "n h"]
    embeddings: Float[np.ndarray, "n d"]
    indices: Int[np.ndarray, " n"]


def subset(size: int, limit: int | None = None, *, seed: int = 0) -> Int[np.ndarray, " n"]:
    """Sorted indices of a fixed random subset of `limit` out of `size` examples (None: all).

    Random because files are often sorted by class, so the first `limit` may all be one class.

    >>> len(subset(100, 7)), subset(5).tolist()
    (7, [0, 1, 2, 3, 4])

    Raises:
      ValueError: for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"A subset needs a limit of at least 1 example, found {limit}.")
    if limit is None or limit >= size:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).permutation(size)[:limit])


def extract(
    encode: Encode | Layers,
    split: Split,
    *,
    batch: int = 512,
    limit: int | None = None,
    indices: Int[np.ndarray, " n"] | None = None,
    transform: Transform | None = None,
    params: Params | None = None,
    sharding: jax.sharding.NamedSharding | None = None,
) -> Features:
    """Encode a split in batches of one fixed size (one compilation; the last batch is padded).

    Args:
      encode: see `Encode`; pass the random encoder as another `Encode`. Of `Layers` the features
        and the embedding are kept.
      split: where images are read from.
      batch: images per compiled call.
      limit: a fixed random subset of so many examples (`subset`).
      indices: exactly these examples instead.
      transform, params: apply a draw first; `params` is one draw for all images, or has one more
        leading axis with a draw for each of the N images.
      sharding: cut each batch over a device mesh by it; the results are gathered.

    Raises:
      ValueError: for batch < 1, both `limit` and `indices`, an empty selection, indices outside the
        split, only one of `transform` and `params`, or draws of a wrong leading axis.
    """
    chosen = _choose(split, limit, indices)
    if (transform is None) != (params is None):
        present = "params" if transform is None else "transform"
        raise ValueError(f"extract() takes transform and params together, found only {present}.")
    per_image = transform is not None and _is_per_image(transform, params, len(chosen))
    stores = (_Store(len(chosen)), _Store(len(chosen)))
    pending: deque = deque()
    frozen = as_partial(encode)
    for rows, images in read_batches(split, chosen, batch):
        if transform is not None:
            drawn = jax.tree.map(lambda leaf, r=rows: leaf[r], params) if per_image else params
            images = transformed(drawn, images, apply=transform.apply, per_image=per_image)
        pending.append((rows, _ends(frozen, images, sharding=sharding)))
        # One batch stays in flight while the one before it is copied to the host.
        if len(pending) > 1:
            _keep(stores, *pending.popleft())
    _keep(stores, *pending.popleft())
    return Features(stores[0].value, stores[1].value, chosen)


def extract_views(
    encoders: Mapping[str, Encode | Layers],
    split: Split,
    transform: Transform,
    draws: Sequence[Sequence[Params]],
    *,
    batch: int = 512,
    limit: int | None = None,
    indices: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Float[np.ndarray, "v n d"]]:
    """Embeddings of N images under V draws, each draw the same for all images, by encoder name.

    Images are read once and transformed once for all encoders. `draws[v]` is applied from left to
    right: `()` leaves the images as they are, `(a, b)` is b after a.

    Raises:
      ValueError: as `extract`, and without any encoder or draw.
    """
    if not encoders or not draws:
        raise ValueError(
            f"extract_views() needs at least one encoder and one draw, found {len(encoders)} "
            f"encoders and {len(draws)} draws; the images as they are count as the draw ()."
        )
    chosen = _choose(split, limit, indices)
    frozen = {name: as_partial(encode) for name, encode in encoders.items()}
    stores = {name: [_Store(len(chosen)) for _ in draws] for name in encoders}
    for rows, images in read_batches(split, chosen, batch):
        for v, steps in enumerate(draws):
            view = images
            for params in steps:
                view = transformed(params, view, apply=transform.apply, per_image=False)
            out = {name: _ends(encode, view)[1] for name, encode in frozen.items()}
            for name, embeddings in out.items():
                stores[name][v].put(rows, embeddings)
    return {name: np.stack([s.value for s in stores[name]]) for name in encoders}


class _Store:
    """Rows of one result on the host, allocated when the first batch shows their width."""

    def __init__(self, size: int):
        self.size = size
        self.value = np.empty((0, 0), np.float32)

    def put(self, rows: np.ndarray, batch: Array) -> None:
        if not self.value.size:
            self.value = np.empty((self.size, batch.shape[1]), np.float32)
        self.value[rows] = np.asarray(batch)  # padded rows repeat the last one


def _keep(stores: tuple[_Store, ...], rows: np.ndarray, batches: tuple[Array, ...]) -> None:
    for store, batch in zip(stores, batches, strict=True):
        store.put(rows, batch)


def _choose(split: Split, limit: int | None, indices: np.ndarray | None) -> np.ndarray:
    if limit is not None and indices is not None:
        raise ValueError("Take either limit or indices: found both.")
    chosen = subset(split.size, limit) if indices is None else np.asarray(indices)
    if not len(chosen):
        raise ValueError(f"No example to encode: the split has {split.size} and none is selected.")
    if chosen.min() < 0 or chosen.max() >= split.size:
        raise ValueError(
            f"Indices must lie in 0 … {split.size - 1}, found {chosen.min()} … {chosen.max()}."
        )
    return chosen


def read_batches(
    split: Split, chosen: np.ndarray, batch: int
) -> Iterator[tuple[np.ndarray, Array]]:
    """Rows of `chosen` and their images, always `batch` of them: the last row fills the end."""
    if batch < 1:
        raise ValueError(f"A batch needs at least 1 image, found batch={batch}.")
    for start in range(0, len(chosen), batch):
        rows = np.minimum(np.arange(start, start + batch), len(chosen) - 1)
        inputs = chosen[rows].astype(np.int32)
        loaded = inputs if split.load is None else split.load(inputs)
        yield rows, _read(split.pool, loaded, read=split.read)


def _is_per_image(transform: Transform, params: Params | None, count: int) -> bool:
    leaves = list(zip(jax.tree.leaves(params), jax.tree.leaves(transform.identity), strict=True))
    extra = {np.ndim(leaf) - np.ndim(identity) for leaf, identity in leaves}
    if extra == {1} and {np.shape(leaf)[0] for leaf, _ in leaves} == {count}:
        return True
    if extra == {0}:
        return False
    raise ValueError(
        f"params must be one draw, or {count} draws on a leading axis; found leaves of shape "
        f"{[np.shape(leaf) for leaf, _ in leaves]}."
    )


def as_partial(encode: Callable[..., Any]) -> Callable[..., Any]:
    """The encoder with its weights as arguments of what compiles it, if it is not so already.

    An `Encoder` of the host stays as it is: it is called, never traced.
    """
    if isinstance(encode, Encoder):
        return encode.forward if encode.compiled else encode
    return encode if isinstance(encode, Partial) else Partial(encode)


@partial(jax.jit, static_argnames="sample")
def sampled(keys, *, sample):  # type: ignore[no-untyped-def]
    """A draw for each key, leaves [n, …]; compiled once for each `sample`."""
    return jax.vmap(sample)(keys)


# Three small programs rather than one: the encoder is compiled once whatever is done to the images,
# and the transformation once whatever the encoder.
@partial(jax.jit, static_argnames="read")
def _read(pool, inputs, *, read):  # type: ignore[no-untyped-def]
    return read(pool, inputs)


@partial(jax.jit, static_argnames=("apply", "per_image"))
def transformed(params, images, *, apply, per_image):  # type: ignore[no-untyped-def]
    """Images under one draw, or each under its own."""
    return jax.vmap(apply, in_axes=(0 if per_image else None, 0))(params, images)


def layer_outputs(
    encode: Callable[..., Any],
    images: Array,
    *,
    sharding: jax.sharding.NamedSharding | None = None,
) -> Mapping[str, Any]:
    """What each layer gives; those of an `Encode` are "features" and "embedding".

    Views are rendered on the device whatever the encoder; one of the host then gets NumPy images.
    """
    if isinstance(encode, Encoder):
        try:
            return encode.layers(np.asarray(images, np.float32))
        except ValueError as error:
            raise EncoderFault(str(error)) from error
    return _traced_outputs(encode, images, sharding=sharding)


@partial(jax.jit, static_argnames="sharding")
def _traced_outputs(encode, images, *, sharding=None):  # type: ignore[no-untyped-def]
    if sharding is not None:
        images = jax.lax.with_sharding_constraint(images, sharding)
    layers = encode(images)
    if not isinstance(layers, Mapping):
        layers = OrderedDict(zip(("features", "embedding"), layers, strict=True))
    if sharding is not None:
        whole = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
        layers = jax.lax.with_sharding_constraint(layers, whole)
    return OrderedDict((name, value.astype(jnp.float32)) for name, value in layers.items())


def _ends(
    encode: Callable[..., Any],
    images: Array,
    sharding: jax.sharding.NamedSharding | None = None,
) -> tuple[Array, Array]:
    """Features and embeddings, by the program that gives all layers: it is compiled once."""
    layers = layer_outputs(encode, images, sharding=sharding)
    return layers["features"], layers["embedding"]
