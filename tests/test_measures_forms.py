"""Measures of a form's stabiliser: zero on the group, known values off it."""

import numpy as np
import pytest
from scipy.linalg import expm, polar

from eqssl_jax.measures import (
    form_change,
    form_departure,
    form_gram_error,
    gram_error,
    group_factor,
    linear_map,
)
from eqssl_jax.objectives import euclidean_form, minkowski_form, symplectic_form

D, N = 4, 60
RNG = np.random.default_rng(0)
Z = RNG.normal(size=(N, D))
FORMS = {"O": euclidean_form(D), "Lorentz": minkowski_form(D), "Sp": symplectic_form(D)}


def element(form, seed=1):
    a = 0.6 * np.random.default_rng(seed).normal(size=(D, D))
    symmetric = np.array_equal(form, form.T)
    return expm(np.linalg.inv(form) @ ((a - a.T) if symmetric else (a + a.T)) / 2)


@pytest.mark.parametrize("name", FORMS)
def test_an_element_of_the_group_leaves_nothing(name):
    a = element(FORMS[name])
    change = form_change(Z, Z @ a.T, FORMS[name])
    np.testing.assert_allclose(change, 0, atol=1e-8)
    np.testing.assert_allclose(linear_map(Z, Z @ a.T), a, atol=1e-9)
    np.testing.assert_allclose(group_factor(a, FORMS[name]), a, atol=1e-7)


@pytest.mark.parametrize("name", FORMS)
def test_an_element_of_another_group_is_linear_but_departs(name):
    for other in set(FORMS) - {name}:
        change = form_change(Z, Z @ element(FORMS[other]).T, FORMS[name])
        assert change.linear < 1e-9
        assert min(change.gram, change.departure, change.on_data) > 0.01
        assert np.isnan(change.group) or change.group > 0.01


@pytest.mark.parametrize("name", FORMS)
def test_the_factor_is_in_the_group_and_its_remainder_self_adjoint(name):
    form = FORMS[name]
    a = element(form) @ (np.eye(D) + 0.1 * np.random.default_rng(2).normal(size=(D, D)))
    q = group_factor(a, form)
    assert form_departure(a, form) > 0.05
    assert form_departure(q, form) < 1e-9
    remainder = np.linalg.inv(q) @ a
    np.testing.assert_allclose(np.linalg.inv(form) @ remainder.T @ form, remainder, atol=1e-9)
    if name == "O":
        np.testing.assert_allclose(q, polar(a)[0], atol=1e-9)


def test_no_factor_where_time_and_space_are_swapped():
    swap = np.eye(D)[[1, 0, 2, 3]]
    assert np.isnan(group_factor(swap, FORMS["Lorentz"])).all()
    assert np.isnan(group_factor(np.zeros((D, D)), FORMS["O"])).all()
    assert np.isnan(form_change(Z, Z @ swap.T, FORMS["Lorentz"]).group)


def test_gram_error_is_that_of_the_inner_product_and_of_a_double_loop():
    other = RNG.normal(size=(N, D))
    expected = gram_error(Z, other).mean_square
    np.testing.assert_allclose(form_gram_error(Z, other, FORMS["O"]).mean_square, expected)
    b = FORMS["Sp"]
    loop = [
        (Z[i] @ b @ Z[j] - other[i] @ b @ other[j]) ** 2
        for i in range(N)
        for j in range(N)
        if i != j
    ]
    np.testing.assert_allclose(form_gram_error(Z, other, b).mean_square, np.mean(loop))


@pytest.mark.parametrize("name", FORMS)
def test_relative_error_of_unrelated_embeddings_is_one_at_any_scale(name):
    first, second = np.random.default_rng(3).normal(size=(2, 400, D))
    relative = form_gram_error(first, second, FORMS[name]).relative
    assert abs(relative - 1) < 0.1
    scaled = form_gram_error(10 * first, 10 * second, 3 * FORMS[name]).relative
    np.testing.assert_allclose(scaled, relative)


def test_what_nothing_moves_has_no_share_to_explain():
    change = form_change(Z, Z, FORMS["O"])
    assert change.gram == 0
    assert np.isnan(change.linear) and np.isnan(change.group)
    assert np.isnan(form_gram_error(np.ones((3, D)), np.ones((3, D)), FORMS["O"]).relative)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (form_gram_error, (Z, Z[:5], FORMS["O"]), r"both be \[n, d\]"),
        (form_gram_error, (Z[:1], Z[:1], FORMS["O"]), "at least 2, found 1"),
        (form_gram_error, (Z, Z, np.eye(3)), "width 3"),
        (form_gram_error, (Z * np.nan, Z, FORMS["O"]), "NaN"),
        (linear_map, (Z[:D], Z[:D]), "4 examples do not determine"),
        (form_departure, (np.eye(D), np.ones((D, D))), "singular"),
        (group_factor, (np.eye(2), np.array([[1.0, 1.0], [0.0, 1.0]])), "symmetric or skew"),
    ],
)
def test_bad_input(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
