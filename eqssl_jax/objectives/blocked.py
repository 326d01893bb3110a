"""The repelling half of InfoNCE a block of images at a time, without the matrix of all pairs."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from eqssl_jax.objectives.geometry import Similarity

# The most that one matrix of similarities may take, 256 MiB of float32: all pairs of 2N views up
# to N = 4,096 images, or those of a block of images with all others. Forward and backward hold
# some three of them at a time, so that a chip of 16 GB keeps nearly all of its memory for the
# network; and a block of 32,768 images is still 1,024 rows, enough for matrix units to be busy.
MATRIX_BYTES = 2**28
# On one CPU device, instead, what stays in its caches: 512 images whole, more of them block by
# block, in less time and in a fraction of the memory.
CPU_MATRIX_BYTES = 2**22
_ENTRIES = 16  # bytes of float32 similarities for each pair of images, two views of either


def block_count(images: int, block: int | None = None) -> int:
    """Into how many blocks the images are cut; 1: not at all.

    A count that divides the images is taken if there is one below twice the least: blocks are then
    equal.

    Args:
      images: N.
      block: images a block holds at most. None: all N if the similarities of their 2N views fit
        `MATRIX_BYTES` (on one CPU device `CPU_MATRIX_BYTES`), else as many as fit with their
        similarities to all 2N views (there at least 128).

    Raises:
      ValueError: if `block` is below 1.

    >>> block_count(12), block_count(12, 5), block_count(13, 5)
    (1, 3, 3)
    """
    if block is None:
        cpu = jax.default_backend() == "cpu" and jax.device_count() == 1
        most, least_rows = (CPU_MATRIX_BYTES, 128) if cpu else (MATRIX_BYTES, 1)
        fits = _ENTRIES * images**2 <= most
        block = images if fits else max(most // (_ENTRIES * images), least_rows)
    if block < 1:
        raise ValueError(f"A block must hold at least one image, found block = {block}.")
    least = -(-images // block)
    return next((n for n in range(least, 2 * least) if images % n == 0), least)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def log_negatives(
    z: Float[Array, "n 2 d"], temperature: float, similarity: Similarity, blocks: int
) -> Float[Array, "n 2"]:
    """l_i = log Σ_j e^{s_ij/τ} for each of the 2N views, over the views j of other images.

    Memory is O(N·D + N·N/blocks), also of the gradient, which computes the similarities of each
    block anew. With P_ij = e^{s_ij/τ − l_i}, g_i the cotangent of l_i, and s symmetric,

      ∂z_i = Σ_j (g_i P_ij + g_j P_ji) ∂₁s(z_i, z_j) / τ,

    so the gradient of a block of rows needs no more of the others than their z, l and g. On
    several devices each computes the gradient of its own rows, and no block ends in a sum over
    devices. There are three matrix products, as in the plain form. Reverse mode only: no `jax.jvp`.

    Args:
      z: points of both views of each image, float32.
      temperature: τ > 0.
      similarity: s.
      blocks: how many blocks the N images are cut into.
    """
    return _forward(z, temperature, similarity, blocks)[0]


def _forward(
    z: Float[Array, "n 2 d"], temperature: float, similarity: Similarity, blocks: int
) -> tuple[Float[Array, "n 2"], tuple[Array, Array, Array]]:
    columns, image = _in_block_order(z, blocks), _images(z.shape[0], blocks)

    def block(rows: Float[Array, "r 2 d"], rows_of: Int[Array, " r"]) -> Float[Array, "r 2"]:
        logits = _logits(rows, columns, rows_of, image, temperature, similarity)
        return jax.nn.logsumexp(logits, axis=(2, 3))

    sums = _by_blocks(block, blocks, z, jnp.arange(z.shape[0]))
    return sums, (z, columns, sums)


def _backward(
    temperature: float,
    similarity: Similarity,
    blocks: int,
    saved: tuple[Array, Array, Array],
    g: Float[Array, "n 2"],
) -> tuple[Float[Array, "n 2 d"]]:
    z, columns, sums = saved
    image = _images(z.shape[0], blocks)
    column_sum, column_g = _in_block_order(sums, blocks), _in_block_order(g, blocks)

    def block(rows: Array, rows_of: Array, row_sum: Array, row_g: Array) -> Float[Array, "r 2 d"]:
        logits, pull = jax.vjp(
            lambda rows: _logits(rows, columns, rows_of, image, temperature, similarity),
            rows,
        )
        as_anchor = row_g[:, :, None, None] * jnp.exp(logits - row_sum[:, :, None, None])
        as_negative = column_g[None, None] * jnp.exp(logits - column_sum[None, None])
        return pull(as_anchor + as_negative)[0]

    return (_by_blocks(block, blocks, z, jnp.arange(z.shape[0]), sums, g),)


log_negatives.defvjp(_forward, _backward)


def _logits(
    rows: Float[Array, "r 2 d"],
    embeddings: Float[Array, "m 2 d"],
    rows_of: Int[Array, " r"],
    image: Int[Array, " m"],
    temperature: float,
    similarity: Similarity,
) -> Float[Array, "r 2 m 2"]:
    """Similarities of the rows to all views, over τ; −∞ between views of one image, and to none."""
    width = embeddings.shape[-1]
    matrix = similarity.matrix(rows.reshape(-1, width), embeddings.reshape(-1, width)) / temperature
    excluded = (rows_of[:, None] == image[None, :]) | (image < 0)[None, :]  # [R, M]
    pairs = matrix.reshape(-1, 2, embeddings.shape[0], 2)
    return jnp.where(excluded[:, None, :, None], -jnp.inf, pairs)


def _by_blocks(
    function: Callable[..., Array], blocks: int, *arrays: Array
) -> Float[Array, "n ..."]:
    """`function` of one block of rows after the other, its results back at the places of the rows.

    Block b holds the rows b, b + blocks, b + 2·blocks, …: of a batch that is cut over devices each
    device has its share of every block.
    """
    parts = jax.lax.map(lambda some: function(*some), tuple(_cut(x, blocks) for x in arrays))
    return jnp.swapaxes(parts, 0, 1).reshape(-1, *parts.shape[2:])[: arrays[0].shape[0]]


def _cut(x: Array, blocks: int, fill: int = 0) -> Float[Array, "b r ..."]:
    """The blocks of rows; `fill` where the last rows are missing."""
    missing = -x.shape[0] % blocks
    x = jnp.pad(x, ((0, missing), *[(0, 0)] * (x.ndim - 1)), constant_values=fill)
    return jnp.swapaxes(x.reshape(-1, blocks, *x.shape[1:]), 0, 1)


def _in_block_order(x: Float[Array, "n ..."], blocks: int) -> Float[Array, "m ..."]:
    """All rows, block after block.

    The rows of a device are not neighbours in this order, so the compiler gathers a sharded x here,
    once, and keeps the rows of a block sharded; with the columns in the order of the batch it
    shards the columns, and communicates within each block.
    """
    return _cut(x, blocks).reshape(-1, *x.shape[1:])


def _images(count: int, blocks: int) -> Int[Array, " m"]:
    """Which image each row of `_in_block_order` is of; −1: none."""
    return _cut(jnp.arange(count), blocks, fill=-1).reshape(-1)
