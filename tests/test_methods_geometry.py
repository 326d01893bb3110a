"""Geometry and form of a config: what is trained, and the contradictions that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import methods, objectives, presets
from eqssl_jax.advice.prepare import check
from eqssl_jax.objectives import GEOMETRIES, Views


def config(geometry="sphere", form="euclidean", *, care=True, **changes):
    made = presets.factored("shapes")
    made = presets.with_care(made) if care else made
    made.model.projector = (16, 6)
    made.model.geometry, made.objectives.equivariance.form = geometry, form
    made.objectives.equivariance.splits = 2
    for key, value in changes.items():
        *path, last = key.split("__")
        at = made
        for name in path:
            at = at[name]
        at[last] = value
    return made


def seen(seed=0) -> Views:
    z = jax.random.normal(jax.random.key(seed), (2, 8, 6))
    return Views(z, z)


@pytest.mark.parametrize(
    ("geometry", "form"),
    [("sphere", "euclidean"), ("sphere", "symplectic"), ("hyperboloid", "minkowski")],
)
def test_objectives_are_those_of_the_geometry_and_the_form(geometry, form):
    built = methods.build(config(geometry, form)).objectives
    place, similarity, _ = GEOMETRIES[geometry]
    z1, z2 = place(seen().embeddings)
    matrix = objectives.FORMS[form](z1.shape[1])
    match = objectives.form_equivariance(z1, z2, form=matrix, groups=2)
    np.testing.assert_allclose(built["equivariance"][1].loss((), seen())[0], match, rtol=1e-5)
    value, metrics = built["info_nce"][1].loss((), seen())
    expected = objectives.info_nce(z1, z2, temperature=0.5, similarity=similarity)
    assert value == expected
    name = {"sphere": "positive_cosine", "hyperboloid": "positive_distance"}[geometry]
    assert list(metrics) == [name]
    mean = jnp.mean(similarity.pairs(z1, z2))
    np.testing.assert_allclose(metrics[name], mean if geometry == "sphere" else -mean, rtol=1e-6)


def test_forms_and_geometries_are_different_losses():
    values = [
        float(methods.build(config(*chosen)).objectives["equivariance"][1].loss((), seen())[0])
        for chosen in (("sphere",), ("sphere", "symplectic"), ("hyperboloid", "minkowski"))
    ]
    assert len({round(v, 3) for v in values}) == 3


@pytest.mark.parametrize("form", ["euclidean", "minkowski"])
def test_without_a_gram_match_its_form_does_not_matter(form):
    for changes in ({"care": False}, {"objectives__equivariance__weight": 0.0}):
        built = methods.build(config("hyperboloid", form, **changes))
        assert list(built.objectives) == ["info_nce"]


def test_prediction_reads_features_in_any_geometry():
    built = methods.build(config("hyperboloid", care=False, roles__rotate="predicted"))
    assert list(built.objectives) == ["info_nce", "prediction_rotate"]


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (("ball",), {}, "geometry is 'ball'"),
        (
            ("sphere", "lorentz"),
            {},
            "form is 'lorentz'; it must be one of 'euclidean', 'minkowski', 'symp",
        ),
        (("sphere", "minkowski"), {}, "do not fit.*geometry to 'hyperboloid'"),
        (("hyperboloid",), {}, "do not fit.*geometry to 'sphere', or the form to 'minkowski'"),
        (("hyperboloid", "symplectic"), {}, "do not fit"),
        (("sphere", "symplectic"), {"model__projector": (16, 5)}, "ends in 5: let it end in 6"),
        (("hyperboloid",), {"care": False, "roles__rotate": "ordered"}, "order compares"),
    ],
)
def test_contradictions(arguments, changes, message):
    with pytest.raises(ValueError, match=message):
        methods.build(config(*arguments, **changes))


def test_advice_is_for_the_sphere():
    from types import SimpleNamespace

    def run(*chosen):
        return SimpleNamespace(config=config(*chosen), split=SimpleNamespace(load=None, draw=None))

    for chosen in (("hyperboloid", "minkowski"), ("sphere", "symplectic")):
        with pytest.raises(ValueError, match="unit sphere"):
            check(run(*chosen))
    check(run())
