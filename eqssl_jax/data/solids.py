"""`solids`: objects under rotation, floor hue and light hue, with every factor known.

A stand-in for 3DIEBench (Garrido et al. 2023, arXiv:2302.10283) that needs no download. An example
is a scene (`eqssl_jax.scene`), a pure function of (seed, number of the object, number of the view);
`rendering.render` shows it. Splits are of different objects:

- train, validation, test: `views_each` scenes of each object, poses in the range;
- objects: the objects of train once each, upright under hues 0. It is what is trained on
  (config.data.split): the recipe "solids" then draws the poses and hues of all views, as absolutely
  as 3DIEBench's, and a rotation from the left does not leave the box;
- out_of_range: new objects, the angles about x and z in ±[π/2, π] and that about y in ±π/2 (with
  poses "box"). All three in ±[π/2, π], as 3DIEBench-OOD draws them, would be out of the range of
  angles only: (a, b, c) and (a ± π, ±π − b, c ± π) are one rotation, which lies in the box.

Poses "box": turns about x, y, z (fixed axes, in this order), each uniform in ±π/2, as 3DIEBench;
"full": uniform on SO(3). Factors: object, rotation (unit quaternion x, y, z, w with w ≥ 0: the
sign is fixed), floor_hue and light_hue in turns. The light's direction is the object's own: within
π/4 of the zenith. Some views are ambiguous, such as a mug's whose handle is hidden.
"""

import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int

from eqssl_jax import scene as layout
from eqssl_jax.data import partition, rendering
from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.data.solid_objects import CLASSES, NUMBERS, objects

SIZES = (32, 64)
_FIRST = {"train": 0, "test": 2**22, "out_of_range": 2**23}  # number of the first object
_OF_OBJECT, _OF_VIEW = NUMBERS + 2, 5  # uniform numbers
# Of 3,584 training images, to 0.005; alike for 64 pixels and all poses.
_MEAN, _STD = (0.357, 0.357, 0.357), (0.172, 0.172, 0.172)


def load(
    *,
    size: int | None = None,
    seed: int = 0,
    validation: float = 0.1,
    poses: str = "box",
    views_each: int = 8,
    train_objects: int = 4096,
    test_objects: int = 512,
) -> Dataset:
    """The data set; a tenth of the training objects (`validation`) is held out.

    Args:
      size: side of the images in pixels, 32 (default) or 64.
      seed: which objects and views.
      validation: fraction of the training objects.
      poses: "box" or "full"; see above.
      views_each: scenes of each object in train, validation, test and out_of_range; at least 2.
      train_objects, test_objects: how many; of out_of_range half as many as of test.

    >>> data = load(train_objects=24, test_objects=12, views_each=2)
    >>> {name: split.size for name, split in data.splits.items()}["objects"], data.image_shape
    (21, (81,))

    Raises:
      ValueError: for another size, or fewer objects than classes.
    """
    side = 32 if size is None else size
    if side not in SIZES:
        raise ValueError(f"solids are rendered at {SIZES} pixels (config.data.size), found {size}.")
    counts = {"train": train_objects, "test": test_objects, "out_of_range": test_objects // 2}
    if min(train_objects // 2, test_objects) < len(CLASSES):
        raise ValueError(
            f"solids need {len(CLASSES)} test objects and twice as many for training (one and two "
            f"a class), found test_objects={test_objects} and train_objects={train_objects}."
        )
    if poses == "full":  # nothing is out of it
        del counts["out_of_range"]
    splits = {
        name: _split(
            _FIRST[name] + np.arange(count), seed, views_each, poses, name == "out_of_range"
        )
        for name, count in counts.items()
    }
    splits = partition.with_validation(
        splits, validation, "object", more="config.data.options.train_objects"
    )
    splits["objects"] = _split(np.unique(splits["train"].factors["object"]).astype(int), seed)
    shown = rendering.renderer(side)
    return Dataset(
        "solids", (layout.SIZE,), tuple(CLASSES), _MEAN, _STD, splits, show=shown
    )  # fmt: skip


def scenes(
    numbers: Int[np.ndarray, " n"],
    seed: int,
    views: int = 0,
    poses: str = "box",
    outside: bool = False,
) -> Float[np.ndarray, "m s"]:
    """The scenes of some objects: `views` of each, or (0) each upright under hues 0."""
    several = max(views, 1)
    drawn = np.stack([_uniform(seed, int(n), _OF_OBJECT + _OF_VIEW * several) for n in numbers])
    vectors = np.zeros((len(numbers), several, layout.SIZE), np.float32)
    parts = objects(drawn, numbers % len(CLASSES), 0.6)
    vectors[..., : parts.shape[1]] = parts[:, None]
    vectors[..., layout.POSE] = (0, 0, 0, 1)
    vectors[..., layout.HEIGHT] = np.pi / 4 * drawn[:, None, NUMBERS]
    vectors[..., layout.SIDE] = 2 * np.pi * drawn[:, None, NUMBERS + 1]
    if views:
        unit = drawn[:, _OF_OBJECT:].reshape(len(numbers), several, _OF_VIEW)
        vectors[..., layout.POSE] = _quaternions(unit[..., :3], poses, outside)
        vectors[..., layout.FLOOR], vectors[..., layout.LIGHT] = unit[..., 3], unit[..., 4]
    return vectors.reshape(-1, layout.SIZE)


def read(pool: Float[Array, "n s"], indices: Int[Array, " b"]) -> Float[Array, "b s"]:
    """Scenes by index, as they are stored."""
    return pool[indices]


def _split(
    numbers: np.ndarray, seed: int, views: int = 0, poses: str = "box", outside: bool = False
) -> Split:
    vectors = scenes(numbers, seed, views, poses, outside)
    number = np.repeat(numbers, max(views, 1))
    return Split(
        len(vectors),
        jnp.asarray(vectors),
        read,
        labels=(number % len(CLASSES)).astype(np.int32),
        factors={
            "object": number.astype(np.float32),
            "rotation": vectors[:, layout.POSE],
            "floor_hue": vectors[:, layout.FLOOR],
            "light_hue": vectors[:, layout.LIGHT],
        },
        names=lambda rows: [
            f"seed {seed}, object {number[row]}, view {row % max(views, 1) if views else 'upright'}"
            for row in rows
        ],
    )


def _uniform(seed: int, number: int, count: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=[seed, number])).random(count)


def _quaternions(unit: np.ndarray, poses: str, outside: bool) -> np.ndarray:
    """Poses from three uniform numbers each, (x, y, z, w) with w ≥ 0."""
    if poses == "full":  # Shoemake 1992
        low, high = np.sqrt(1 - unit[..., 0]), np.sqrt(unit[..., 0])
        a, b = 2 * np.pi * unit[..., 1], 2 * np.pi * unit[..., 2]
        quaternions = np.stack(
            [low * np.sin(a), low * np.cos(a), high * np.sin(b), high * np.cos(b)], axis=-1
        )
    else:
        angles = np.pi * (unit - 0.5)  # ±π/2
        if outside:
            angles[..., ::2] += np.where(angles[..., ::2] < 0, -np.pi / 2, np.pi / 2)
        flat = scipy.spatial.transform.Rotation.from_euler("xyz", angles.reshape(-1, 3)).as_quat()
        quaternions = flat.reshape(*unit.shape[:-1], 4)
    return np.where(quaternions[..., 3:] < 0, -quaternions, quaternions)
