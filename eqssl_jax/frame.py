"""How a picture of any aspect lies in an array of one shape: a *frame*, uint8 [S, L, 4].

The picture, its short side scaled to S, lies in the upper left corner, its long side along the
columns: an upright one is transposed, so that a frame is S × 3 S / 2 instead of as long as wide.
The fourth channel says of each pixel whether it is of the picture, and how that lies. So a frame is
known by its shape, travels, is kept and is cut into batches as any image is, and no reader, pool or
statistic has to carry a size beside it. Crops (`transforms.frames`) take the picture out of it;
nothing behind them ever sees a frame.
"""

CHANNELS = 4
NOTHING, LYING, STANDING = 0, 1, 2  # the fourth channel: no picture; as it is; transposed


def longest(size: int) -> int:
    """Columns L of frames of S = `size` rows, 3 S / 2; of longer pictures the middle is kept.

    >>> longest(256)
    384
    """
    return max(size, size * 3 // 2)


def is_frame(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape [S, L, C] is a frame: images have one channel or three.

    >>> is_frame((256, 384, 4)), is_frame((256, 256, 3))
    (True, False)
    """
    return len(shape) == 3 and shape[-1] == CHANNELS
