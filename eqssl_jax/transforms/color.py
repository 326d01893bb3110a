"""What mixes the channels of an image: colour jitter and grayscale, as torchvision defines them."""

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from eqssl_jax.settings import accept
from eqssl_jax.transforms import checks
from eqssl_jax.transforms.base import FromUniform, Params, Transform

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # the entries of a jitter's `order`
_KINDS = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "saturation": SATURATION}


def color_jitter(
    brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4, hue: float = 0.1
) -> Transform:
    """Change brightness, contrast, saturation and hue, each by a random amount, in a random order.

    A draw is `brightness contrast saturation` (ratios, uniform in [max(0, 1 − b), 1 + b]), `hue`
    (a shift in turns, uniform in [−h, h]) and `order` (int32 [4]: order[k] is what is applied k-th,
    0 brightness, 1 contrast, 2 saturation, 3 hue). The first three are blends with a base,

      x ← clip(f x + (1 − f) base, 0, 1),

    where the base is black for brightness, the mean of the gray image for contrast and the gray
    image for saturation: torchvision's definitions, not those of dm-pix (an added brightness,
    contrast about each channel's mean, saturation in HSV). The hue is shifted by dm-pix.

    Raises:
      ValueError: for a negative strength or a hue above 0.5 (half a turn).
    """
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    strengths = {
        name: accept(f"The {name} of color_jitter()", strength, checks.STRENGTH)
        for name, strength in strengths.items()
    }
    hue = accept("The hue of color_jitter()", hue, checks.HUE)
    spread = np.array([*strengths.values(), hue], np.float32)
    middle = np.array([1, 1, 1, 0], np.float32)
    low = np.maximum(middle - spread, [0, 0, 0, -1]).astype(np.float32)

    def read(u: Float[Array, "8"]) -> Params:
        drawn = low + (middle + spread - low) * u[:4]
        names = (*strengths, "hue")
        # The ranks of four numbers are a uniform permutation; a sort takes longer to compile.
        k = np.arange(4)
        below = (u[None, 4:] < u[4:, None]) | ((u[None, 4:] == u[4:, None]) & (k < k[:, None]))
        order = jnp.sum(below, axis=1, dtype=jnp.int32)
        return {**{name: drawn[k] for k, name in enumerate(names)}, "order": order}

    identity = {name: np.float32(1) for name in strengths}
    still = {**identity, "hue": np.float32(0), "order": np.arange(4, dtype=np.int32)}
    return Transform(FromUniform(8, read), _jitter, still)


def brightness(strength: float = 0.4) -> Transform:
    """Only the brightness of `color_jitter`, as a part of its own; a draw is `brightness`.

    Raises:
      ValueError: for a negative strength.
    """
    return _blending("brightness", strength)


def contrast(strength: float = 0.4) -> Transform:
    """Only the contrast of `color_jitter`, as a part of its own; a draw is `contrast`.

    Raises:
      ValueError: for a negative strength.
    """
    return _blending("contrast", strength)


def saturation(strength: float = 0.4) -> Transform:
    """Only the saturation of `color_jitter`, as a part of its own; a draw is `saturation`.

    Raises:
      ValueError: for a negative strength.
    """
    return _blending("saturation", strength)


def hue(strength: float = 0.1) -> Transform:
    """Only the hue of `color_jitter`, as a part of its own; a draw is `hue` (turns).

    Raises:
      ValueError: for a strength outside [0, 0.5] (half a turn).
    """
    strength = accept("The strength of hue()", strength, checks.HUE)

    sample = FromUniform(1, lambda u: {"hue": strength * (2 * u[0] - 1)})

    def apply(params: Params, x: Float[Array, "h w 3"]) -> Float[Array, "h w 3"]:
        checks.rgb("hue()", x)
        return _shift_hue(x, jnp.asarray(params["hue"]))

    return Transform(sample, apply, {"hue": np.float32(0)})


def grayscale(probability: float = 0.2) -> Transform:
    """Replace the three channels by 0.2989 R + 0.587 G + 0.114 B; a draw is `gray` (bool).

    Raises:
      ValueError: if `probability` is not in [0, 1], or (when applied) without three channels.
    """
    probability = accept("The grayscale's probability", probability, checks.PROBABILITY)

    sample = FromUniform(1, lambda u: {"gray": u[0] < probability})

    def apply(params: Params, x: Float[Array, "h w 3"]) -> Float[Array, "h w 3"]:
        checks.rgb("grayscale()", x)
        return jnp.where(params["gray"], _gray(x), x)

    return Transform(sample, apply, {"gray": np.bool_(False)})


def _blending(name: str, strength: float) -> Transform:
    """One of the three blends; its draw is one ratio, uniform in [max(0, 1 − b), 1 + b]."""
    strength = accept(f"The strength of {name}()", strength, checks.STRENGTH)
    kind = _KINDS[name]
    low, high = max(0.0, 1 - strength), 1.0 + strength

    sample = FromUniform(1, lambda u: {name: low + (high - low) * u[0]})

    def apply(params: Params, x: Float[Array, "h w 3"]) -> Float[Array, "h w 3"]:
        checks.rgb(f"{name}()", x)
        return _blend(x, (jnp.asarray(kind), jnp.asarray(params[name])))[0]

    return Transform(sample, apply, {name: np.float32(1)})


def _jitter(params: Params, x: Float[Array, "h w 3"]) -> Float[Array, "h w 3"]:
    """The four changes in the drawn order.

    A lax.switch over 24 orders, or over 4 kinds in each of 4 places, runs all its branches under
    vmap, the costly hue among them many times. Here the hue is shifted once: the blends that come
    before it run first, then it, then the rest; the others have a factor of 1, which changes no
    bit. A blend's kind only selects its base.
    """
    checks.rgb("color_jitter()", x)
    order = jnp.asarray(params["order"])
    factors = jnp.stack([params["brightness"], params["contrast"], params["saturation"]])
    drawn = _pick(factors, order)
    place, at_hue = jnp.arange(4), jnp.argmax(order == HUE)
    before = jnp.where(place < at_hue, drawn, 1.0)
    after = jnp.where(place > at_hue, drawn, 1.0)
    # Scans, not Python loops: XLA fuses an unrolled chain and then works out earlier blends again
    # for each later use (20 times slower in a recipe on CPU).
    x, _ = jax.lax.scan(_blend, x, (order[:3], before[:3]))
    x = _shift_hue(x, params["hue"])
    x, _ = jax.lax.scan(_blend, x, (order[1:], after[1:]))
    return x


def _pick(factors: Float[Array, "3"], order: Int[Array, "4"]) -> Float[Array, "4"]:
    """The factor at each place of the order; 1 where the hue stands."""
    return jnp.append(factors, jnp.ones((1,), factors.dtype))[order]


def _blend(
    x: Float[Array, "h w 3"], change: tuple[Int[Array, ""], Float[Array, ""]]
) -> tuple[Float[Array, "h w 3"], None]:
    """One step of the scan: brightness, contrast or saturation, or nothing for a factor of 1."""
    kind, factor = change
    gray = _gray(x)
    base = jnp.where(kind == CONTRAST, jnp.mean(gray), gray)
    base = jnp.where(kind == BRIGHTNESS, 0.0, base)
    return jnp.clip(factor * x + (1 - factor) * base, 0.0, 1.0), None


def _gray(x: Float[Array, "h w 3"]) -> Float[Array, "h w 1"]:
    # Not dm_pix.rgb_to_grayscale: its dot product loses digits on accelerators.
    return 0.2989 * x[..., 0:1] + 0.587 * x[..., 1:2] + 0.114 * x[..., 2:3]


def _shift_hue(x: Float[Array, "h w 3"], turns: Float[Array, ""]) -> Float[Array, "h w 3"]:
    # dm-pix adds a bool to a float, which strict promotion would refuse.
    with jax.numpy_dtype_promotion("standard"):
        shifted = dm_pix.adjust_hue(x, turns)
    unmoved: Bool[Array, ""] = jnp.asarray(turns) == 0
    # The way to HSV and back costs a rounding error, so at zero the value is that of x, while the
    # derivative stays that of the shift: s − stop(s) adds nothing.
    still = jax.lax.stop_gradient(x) + (shifted - jax.lax.stop_gradient(shifted))
    return jnp.where(unmoved, still, shifted)
