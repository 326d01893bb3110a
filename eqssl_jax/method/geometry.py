"""Which geometry and which bilinear form a config asks for, and whether they fit each other."""

from collections.abc import Iterable

from ml_collections import ConfigDict

from eqssl_jax.objectives import FORMS, GEOMETRIES

# How the names of objectives begin that are defined in every geometry, or do not look at it.
_ANYWHERE = ("info_nce", "alignment", "uniformity", "equivariance", "prediction_")


def check_names(config: ConfigDict) -> None:
    """The names must be known.

    Raises:
      ValueError: naming the setting and the choices.
    """
    for setting, name, known in (
        ("geometry", config.objectives.geometry, GEOMETRIES),
        ("equivariance.form", config.objectives.equivariance.form, FORMS),
    ):
        if name not in known:
            raise ValueError(
                f"config.objectives.{setting} is {name!r}; choose from {', '.join(known)}."
            )


def check_geometry(config: ConfigDict, objectives: Iterable[str]) -> None:
    """Every objective must know the geometry, and the form of the Gram match must belong to it.

    Raises:
      ValueError: for an objective that is defined on the sphere alone, a form whose diagonal is
        not constant on the geometry, or a symplectic form on an odd number of dimensions.
    """
    geometry, form = config.objectives.geometry, config.objectives.equivariance.form
    names = list(objectives)
    alone = [name for name in names if not name.startswith(_ANYWHERE)]
    if geometry != "sphere" and alone:
        raise ValueError(
            f"config.objectives.geometry is {geometry!r}, but {', '.join(alone)} compares unit "
            f"embeddings: set the geometry to 'sphere', or leave that objective (or role) out."
        )
    if "equivariance" not in names:
        return
    fitting = GEOMETRIES[geometry].forms
    if form not in fitting:
        homes = [name for name, one in GEOMETRIES.items() if form in one.forms]
        raise ValueError(
            f"config.objectives.equivariance.form is {form!r} and config.objectives.geometry is "
            f"{geometry!r}, which do not fit: zᵀBz of that form differs from point to point there, "
            f"and the Gram match does not look at it. Set the geometry to "
            f"{' or '.join(map(repr, homes))}, or the form to {' or '.join(map(repr, fitting))}."
        )
    width = config.model.projector[-1] if config.model.projector else 0
    if form == "symplectic" and width % 2:
        raise ValueError(
            f"config.objectives.equivariance.form is 'symplectic', which needs embeddings of even "
            f"width, and config.model.projector ends in {width}: let it end in {width + 1}."
        )
