"""Batches cut into equal chunks of images, so that what is made of a chunk stays in a cache."""

from jaxtyping import Array


def count(images: int, most: int) -> int:
    """The least number of equal chunks that hold `most` images at most, and at least one.

    >>> count(12, 5), count(7, 5), count(12, 0), count(0, 5)
    (3, 7, 12, 1)
    """
    most = max(most, 1)
    fitting = (n for n in range(1, images + 1) if images % n == 0 and images // n <= most)
    return next(fitting, 1)


def cut(x: Array, chunks: int) -> Array:
    """[m, …] as [chunks, m / chunks, …]."""
    return x.reshape(chunks, x.shape[0] // chunks, *x.shape[1:])
