"""What can happen to a rendered scene: its object turns, its floor and light change their hue.

Each acts on the scene's description, not on pixels, so that identities are exact, draws compose,
and ladders follow geodesics. `Dataset.show` renders what comes out. Where scenes were rendered
before, as those of 3DIEBench, the same draws are known of their pictures (`stored_views`).
"""

from math import pi

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax import scene as layout
from eqssl_jax.rotations import (
    quaternion_from_euler,
    quaternion_from_vector,
    quaternion_product,
    vector_from_quaternion,
)
from eqssl_jax.settings import accept
from eqssl_jax.transforms import checks
from eqssl_jax.transforms.base import FromUniform, Params, Transform, chain
from eqssl_jax.transforms.rotation3d import rotate3d

Scene = Float[Array, " s"]


def turn(max_angle: float = pi / 2, *, full: bool = False) -> Transform:
    """Turn the object of a scene about its middle: R ← exp(r) R.

    A draw is `rotation`, the rotation vector r in radians, |r| ≤ π; the identity is 0. It is that
    of turns about x, y and z (fixed axes, in this order), each uniform in ±max_angle, as 3DIEBench
    draws poses (Garrido et al. 2023, arXiv:2302.10283), or, `full`, uniform on SO(3).

    Raises:
      ValueError: if `max_angle` is not in [0, π], or (when applied) for what is no scene.
    """
    max_angle = accept("The max_angle (radians) of turn()", max_angle, checks.ANGLE)

    def read(u: Float[Array, "3"]) -> Params:
        angles = max_angle * (2 * u - 1)
        return {"rotation": vector_from_quaternion(quaternion_from_euler(angles))}

    def apply(params: Params, x: Scene) -> Scene:
        _check("turn()", x)
        rotation = quaternion_from_vector(jnp.asarray(params["rotation"]))
        turned = quaternion_product(rotation, x[layout.POSE])
        # Not x.at[POSE].set: in a set of one view XLA writes numbers into the buffer of x before it
        # has read all four from there (jax 0.10.2 on CPU).
        return jnp.concatenate([x[: layout.POSE.start], turned, x[layout.POSE.stop :]])

    identity = {"rotation": np.zeros(3, np.float32)}
    return Transform(rotate3d().sample if full else FromUniform(3, read), apply, identity)


def scene_hue(which: str, strength: float = 0.5) -> Transform:
    """Shift the hue of the "floor" or the "light" of a scene; a draw is `hue` in turns, ± strength.

    Raises:
      ValueError: for another part, a strength outside [0, .5], or (when applied) no scene.
    """
    if which not in layout.HUES:
        raise ValueError(f"scene_hue() shifts one of {list(layout.HUES)}, found {which!r}.")
    strength = accept("The strength of scene_hue()", strength, checks.HUE)

    sample = FromUniform(1, lambda u: {"hue": strength * (2 * u[0] - 1)})

    def apply(params: Params, x: Scene) -> Scene:
        _check("scene_hue()", x)
        place = layout.HUES[which]
        return x.at[place].set((x[place] + jnp.asarray(params["hue"])) % 1.0)

    return Transform(sample, apply, {"hue": np.float32(0)})


def solids(
    *, max_angle: float = pi / 2, full: bool = False, floor: float = 0.5, light: float = 0.5
) -> Transform:
    """Poses and hues of rendered objects: turn, floor, light. Ours, after 3DIEBench.

    Raises:
      ValueError: as its parts do, for values out of their ranges.
    """
    return chain(
        turn=turn(max_angle, full=full),
        floor=scene_hue("floor", floor),
        light=scene_hue("light", light),
    )


def stored_views(*, translation: bool = False) -> Transform:
    """Views of an object that were rendered before, and what is known of each: turn, floor, light.

    The parts and draws of `solids`, for pictures of 3DIEBench (Garrido et al. 2023,
    arXiv:2302.10283): `rotation` is the pose as a rotation vector in radians, `hue` that of the
    floor or light in turns. With `translation` a fourth part, shift: `translation` [3], each number
    in ±0.5, of 3DIEBench-T. `sample` draws them as that data do; which of the stored views a step
    shows, and so its draws, the input pipeline chooses (`data.views_of_objects`).

    Raises:
      ValueError: when applied, for any other params than the identity itself: no other view can
        be made of a picture.
    """
    parts = {
        "turn": turn(),
        **{part: scene_hue(part) for part in layout.HUES},
        **({"shift": _shift()} if translation else {}),
    }
    drawn = chain(**parts)

    def apply(params: Params, x: Array) -> Array:
        if params is not drawn.identity:
            raise ValueError(
                "the views are stored, and no draw of another pose or hue can be shown"
            )
        return x

    return drawn._replace(apply=apply)


def _shift() -> Transform:
    identity = {"translation": np.zeros(3, np.float32)}
    return Transform(FromUniform(3, lambda u: {"translation": u - 0.5}), lambda _, x: x, identity)


def _check(name: str, x: Scene) -> None:
    if not layout.is_scene(jnp.shape(x)):
        raise ValueError(
            f"{name} takes one scene of {layout.SIZE} numbers, found shape {jnp.shape(x)}: the "
            f"recipe solids is for config.data.name = 'solids'; choose another for images."
        )
