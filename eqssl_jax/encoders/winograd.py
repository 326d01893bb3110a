"""3 × 3 convolutions by Winograd's minimal filtering: fewer products, for wide layers on CPU."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from eqssl_jax.encoders import chunks

# Channels of both sides, and tiles of a batch, from which it pays; and the channels between which
# larger tiles do for the gradient of the kernel: with more, sums of 36 products do not fit the
# cache, with fewer they take longer to compile than they save (docs/cpu_convolutions.md).
LEAST_CHANNELS, LEAST_TILES = 32, 64
CHANNELS_OF_LARGE_TILES = range(64, 256)
# Bytes of transformed tiles that are made at a time, or as many as the transformed kernel has.
OUTPUT_BYTES, KERNEL_BYTES = 4_000_000, 2_000_000

Matrix = Sequence[Sequence[float]]
Grid = Sequence[Sequence[Array]]


class _Filtering(NamedTuple):
    """F(t, 3) of one dimension: t results of a filter of 3 from t + 2 inputs in t + 2 products.

    y = A ( G k ⊙ B x ), with A [t, t + 2], B [t + 2, t + 2] and G [t + 2, 3].
    """

    inputs: Matrix  # B
    kernel: Matrix  # G
    outputs: Matrix  # A

    @property
    def side(self) -> int:
        return len(self.outputs)


_TWO = _Filtering(
    inputs=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    kernel=((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    outputs=((1, 1, 1, 0), (0, 1, -1, -1)),
)
_FOUR = _Filtering(
    inputs=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    kernel=(
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    outputs=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
)


def pays(x: Array, kernel: Array, stride: int) -> bool:
    """Whether this is a layer that `convolve` computes, and faster than XLA does."""
    size, _, inputs, outputs = kernel.shape
    fits = (size, stride) == (3, 1) and x.dtype == kernel.dtype == jnp.float32
    images, height, width, _ = x.shape
    tiles = images * -(-height // _TWO.side) * -(-width // _TWO.side)
    return fits and min(inputs, outputs) >= LEAST_CHANNELS and tiles >= LEAST_TILES


@jax.jit  # traced once for all layers of a shape
def convolve(
    x: Float[Array, "m h w c"], kernel: Float[Array, "3 3 c o"]
) -> Float[Array, "m h w o"]:
    """A 3 × 3 convolution with stride 1 and zeros around, by F(2 × 2, 3 × 3).

    Of every tile of 4 × 4 inputs, which overlap by two, come 2 × 2 results:

      y = A [ Σ_channels (G k Gᵀ) ⊙ (B x Bᵀ) ] Aᵀ,

    the sum over channels being 16 products of [tiles, C] and [C, O], each of all tiles: 4
    multiplications for each result and pair of channels, where the plain sum has 9. The error in
    float32 is about 1e-6 of the largest result; inf becomes NaN.

    Source: Lavin and Gray 2015, arXiv:1509.09308.
    """
    form = _TWO
    height, width = x.shape[1:3]
    transformed = _sandwich(form.kernel, [[kernel[i, j] for j in range(3)] for i in range(3)])

    def chunk(x: Array) -> Array:
        v = _sandwich(form.inputs, _tiles(x, form.side))
        some, *space = v[0][0].shape[:-1]
        products = [
            [v[i][j].reshape(-1, v[i][j].shape[-1]) @ u for j, u in enumerate(row)]
            for i, row in enumerate(transformed)
        ]
        y = _sandwich(form.outputs, products)
        rows = [jnp.stack([e.reshape(some, *space, -1) for e in row], axis=3) for row in y]
        whole = jnp.stack(rows, axis=2)  # [m, H / 2, 2, W / 2, 2, O]
        return whole.reshape(some, 2 * space[0], 2 * space[1], -1)[:, :height, :width]

    y = lax.map(chunk, chunks.cut(x, _count(x, kernel.shape[-1], form.side, OUTPUT_BYTES)))
    return y.reshape(*x.shape[:-1], -1)


@jax.jit
def kernel_gradient(
    x: Float[Array, "m h w c"], g: Float[Array, "m h w o"]
) -> Float[Array, "3 3 c o"]:
    """∂kernel of `convolve`, g the gradient of its result, by the adjoint of F(t × t, 3 × 3).

      ∂k = Gᵀ [ Σ_tiles (B x Bᵀ) ⊙ (Aᵀ g A) ] G,

    the products being of [C, tiles] and [tiles, O]. With t = 2 there are 16 of them, 4
    multiplications for each result and pair of channels where the plain sum has 9, and the error in
    float32 is about 1e-6 of the largest number; with t = 4, for layers of middling width, 36, 2.25
    and 1e-5.
    """
    form = _FOUR if min(x.shape[-1], g.shape[-1]) in CHANNELS_OF_LARGE_TILES else _TWO
    back = tuple(zip(*form.outputs, strict=True))
    inputs, outputs = x.shape[-1], g.shape[-1]

    def add(total: list[list[Array]], chunk: tuple[Array, ...]) -> tuple[list[list[Array]], None]:
        v = _sandwich(form.inputs, _tiles(chunk[0], form.side))
        q = _sandwich(back, _parts(chunk[1], form.side))
        tiles = ((0,), (0,)), ((), ())
        return [
            [
                total[i][j] + lax.dot_general(a.reshape(-1, inputs), b.reshape(-1, outputs), tiles)
                for j, (a, b) in enumerate(zip(*rows, strict=True))
            ]
            for i, rows in enumerate(zip(v, q, strict=True))
        ], None

    count = _count(x, outputs, form.side, KERNEL_BYTES)
    many = range(form.side + 2)
    start = [[jnp.zeros((inputs, outputs), jnp.float32) for _ in many] for _ in many]
    total, _ = lax.scan(add, start, (chunks.cut(x, count), chunks.cut(g, count)))
    whole = _sandwich(tuple(zip(*form.kernel, strict=True)), total)
    return jnp.stack([jnp.stack(row) for row in whole])


def _tiles(x: Float[Array, "m h w c"], side: int) -> list[list[Array]]:
    """Entry (i, j) of all overlapping tiles of side + 2 inputs: [i][j] -> [m, H / t, W / t, c]."""
    m, height, width, c = x.shape
    down, right = -height % side, -width % side
    x = jnp.pad(x, ((0, 0), (1, 1 + down), (1, 1 + right), (0, 0)))
    ends = height + down - side + 1, width + right - side + 1
    return [
        [
            lax.slice(x, (0, i, j, 0), (m, i + ends[0], j + ends[1], c), (1, side, side, 1))
            for j in range(side + 2)
        ]
        for i in range(side + 2)
    ]


def _parts(g: Float[Array, "m h w o"], side: int) -> list[list[Array]]:
    """Entry (i, j) of all tiles of side × side results, without overlap."""
    down, right = -g.shape[1] % side, -g.shape[2] % side
    g = jnp.pad(g, ((0, 0), (0, down), (0, right), (0, 0)))
    return [[g[:, i::side, j::side] for j in range(side)] for i in range(side)]


def _sandwich(matrix: Matrix, grid: Grid) -> list[list[Array]]:
    """M X Mᵀ of a grid X of arrays, as sums of multiples of its entries."""
    rows = [
        [_combination(row, [line[j] for line in grid]) for j in range(len(grid[0]))]
        for row in matrix
    ]
    return [[_combination(row, line) for row in matrix] for line in rows]


def _combination(weights: Sequence[float], parts: Sequence[Array]) -> Array:
    terms = [part if w == 1 else w * part for w, part in zip(weights, parts, strict=True) if w]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _count(x: Array, outputs: int, side: int, least: int) -> int:
    """How many chunks of images have transformed tiles of about `least` bytes, or more.

    A chunk that is smaller than the transformed kernel would read the kernel more than the tiles.
    """
    images, height, width, inputs = x.shape
    bytes_of_pair = 4 * (side + 2) ** 2  # of a tile and channel, and of a pair of channels
    image = bytes_of_pair * -(-height // side) * -(-width // side) * max(inputs, outputs)
    return chunks.count(images, max(least, bytes_of_pair * inputs * outputs) // image)
