"""The methods of published tables: each from the config of SimCLR on the same data."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from eqssl_jax import presets
from eqssl_jax.studies.scales import Change


def simclr(config: ConfigDict) -> ConfigDict:
    """As it is."""
    return config


def _based(name: str, values: str = "paper") -> Change:
    return lambda config: presets.with_base(config, name, values)


def _equimod(base: Change) -> Change:
    return lambda config: presets.with_equimod(base(config))


def _care(base: Change) -> Change:
    return lambda config: presets.with_care(base(config))


# Names of rows, and of the base methods in `presets`.
BASES: Mapping[str, str] = {
    "SimCLR": "simclr",
    "MoCo-v2": "moco",
    "BYOL": "byol",
    "Barlow Twins": "barlow_twins",
    "VICReg": "vicreg",
}
_BASES: Mapping[str, Change] = {
    title: simclr if name == "simclr" else _based(name) for title, name in BASES.items()
}

# The same by solo-learn's own recipes, named as its tables do.
SOLO: Mapping[str, Change] = {
    "SimCLR": _based("simclr", "solo"),
    "MoCo-v2+": _based("moco", "solo"),
    "BYOL": _based("byol", "solo"),
    "Barlow Twins": _based("barlow_twins", "solo"),
    "VICReg": _based("vicreg", "solo"),
}

METHODS: Mapping[str, Change] = {
    **_BASES,
    "EquiMod-SimCLR": _equimod(_BASES["SimCLR"]),
    "EquiMod-BYOL": _equimod(_BASES["BYOL"]),
    **{f"CARE-{name}": _care(change) for name, change in _BASES.items()},
}
