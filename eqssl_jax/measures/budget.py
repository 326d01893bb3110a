"""How much of everything an evaluation looks at: the settings of all cards, and two presets."""

import functools
from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any

from eqssl_jax.measures.cards import Card, built_in
from eqssl_jax.settings import Setting, check, defaults, shown, whole, wholes

Settings = Any  # a named tuple of all settings of some cards


def optional(setting: Setting) -> Setting:
    """The same setting, where None is allowed too and means all."""

    def wrong(value: Any) -> str | None:
        problem = None if value is None else setting.wrong(value)
        return problem and f"{problem}, or None: all"

    return setting._replace(
        wrong=wrong, convert=lambda value: None if value is None else setting.convert(value)
    )


COMMON: Mapping[str, Setting] = {
    "batch": whole(256, "images per compiled forward", low=1, high=65_536),
    # A fixed random subset of each split is encoded once and serves all that reads features.
    "train_images": optional(whole(50_000, "of the training split", low=1)),
    "validation_images": optional(whole(10_000, "of the validation split", low=1)),
    "test_images": optional(whole(10_000, "of the test split", low=1)),
    "out_of_range_images": optional(whole(10_000, "of the split out_of_range", low=1)),
    "seeds": wholes((0, 1, 2), "of probes", least=1),
}
_QUICK = dict(  # multiples of the batch: no padded images
    batch=128, train_images=1536, validation_images=256, test_images=512, out_of_range_images=256
)
PRESETS = ("full", "quick")


def schema(cards: Sequence[Card] | None = None) -> dict[str, Setting]:
    """Every budget of an evaluation by these cards (all of the package by default).

    Raises:
      ValueError: for cards that have different settings of one name.
    """
    merged = dict(COMMON)
    for card in built_in() if cards is None else cards:
        for name, setting in card.settings.items():
            if merged.setdefault(name, setting) is not setting:
                raise ValueError(
                    f"The measure {card.name!r} has a setting {name!r}, which another one has "
                    f"too: give it another name, e.g. {card.name}_{name}."
                )
    return merged


def settings(
    preset: str = "full", *, cards: Sequence[Card] | None = None, **options: Any
) -> Settings:
    """A preset ("full": the defaults; or "quick") with some of its budgets replaced.

    >>> settings("quick", augmentations=5).augmentations
    5

    Raises:
      ValueError: as `budgets`.
    """
    return budgets(options, preset, cards=cards)


def budgets(
    options: Mapping[str, Any], preset: str = "full", *, cards: Sequence[Card] | None = None
) -> Settings:
    """As `settings`, of options that users name, which may be anything.

    Raises:
      ValueError: for an unknown preset or budget, or a value out of its range.
    """
    if preset not in PRESETS:
        raise ValueError(
            f"config.evaluation.preset is {shown(preset)}: choose one of {list(PRESETS)}."
        )
    schemas = schema(cards)
    values = defaults(schemas)
    if preset == "quick":
        values |= _QUICK
        for card in built_in() if cards is None else cards:
            values |= card.quick
    unknown = sorted(set(options) - set(schemas))
    if unknown:
        raise ValueError(
            f"config.evaluation.options has no budget {unknown}: choose from {list(schemas)}; the "
            f"preset is config.evaluation.preset, or --option=preset=quick."
        )
    values = check(values | {**options}, schemas, "config.evaluation.options")
    return _record(tuple(values))(**values)


@functools.cache
def _record(names: tuple[str, ...]) -> Any:
    return namedtuple("Settings", names)
