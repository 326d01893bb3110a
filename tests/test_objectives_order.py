"""The order loss: equal to loops, zero exactly when ordered, and safe to differentiate."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.objectives import order_preservation, unit

RNG = np.random.default_rng(0)
V, N, D = 5, 6, 4
Z = RNG.normal(size=(V, N, D)).astype(np.float32)
S = np.sort(RNG.uniform(size=(V, N)), axis=0).astype(np.float32)


def loss(z, s, **options):
    return float(jax.jit(lambda a, b: order_preservation(a, b, **options))(z, s))


def triplets(s):
    """(i, j, k): from anchor i, rung k lies beyond rung j on the same side."""
    for i, j, k in itertools.permutations(range(len(s)), 3):
        if s[i] < s[j] < s[k] or s[k] < s[j] < s[i]:
            yield i, j, k


def hinge_by_loops(z, s, margin):
    terms = []
    for n in range(z.shape[1]):
        d = np.linalg.norm(z[:, None, n] - z[None, :, n], axis=-1)
        for i, j, k in triplets(s[:, n]):
            gap = abs(float(s[j, n]) - float(s[k, n]))
            terms.append(max(0.0, d[i, j] - d[i, k] + margin * gap))
    return np.mean(terms)


def listwise_by_loops(z, s, temperature):
    terms = []
    for n in range(z.shape[1]):
        d = np.linalg.norm(z[:, None, n] - z[None, :, n], axis=-1)
        for i in range(len(s)):
            for side in (1, -1):
                ranked = [j for j in range(len(s)) if side * (s[j, n] - s[i, n]) > 0]
                ranked.sort(key=lambda j, i=i, n=n: abs(s[j, n] - s[i, n]))
                for place, j in enumerate(ranked[:-1]):
                    weights = np.exp(-d[i, ranked[place:]] / temperature)
                    terms.append(-np.log(np.exp(-d[i, j] / temperature) / weights.sum()))
    return np.mean(terms)


@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_hinge_is_the_triple_loop(margin):
    np.testing.assert_allclose(loss(Z, S, margin=margin), hinge_by_loops(Z, S, margin), rtol=1e-5)


def test_listwise_is_the_plackett_luce_loop():
    listwise = loss(Z, S, form="listwise", temperature=0.5)
    np.testing.assert_allclose(listwise, listwise_by_loops(Z, S, 0.5), rtol=1e-5)


def line(s, direction):
    return (s[..., None] * direction).astype(np.float32)


def test_hinge_is_zero_exactly_when_ordered_with_the_margin():
    direction = RNG.normal(size=(N, D))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    straight = line(S, direction[None])  # one unit of distance for each unit of magnitude
    assert loss(straight, S, margin=0.99) == 0
    # Here every triplet has d_ik − d_ij = |s_j − s_k|, so a larger margin leaves them all short.
    assert loss(straight, S, margin=1.5) > 0.01
    swapped = straight.copy()
    swapped[[1, 2], 3] = swapped[[2, 1], 3]  # two rungs of one image
    assert loss(swapped, S, margin=0.0) > 1e-4


def test_constant_embeddings_pay_the_mean_margin():
    same = np.ones_like(Z)
    gaps = [abs(S[j, n] - S[k, n]) for n in range(N) for _, j, k in triplets(S[:, n])]
    np.testing.assert_allclose(loss(same, S, margin=0.3), 0.3 * np.mean(gaps), rtol=1e-5)


@pytest.mark.parametrize("form", ["hinge", "listwise"])
def test_relabelled_images_and_rotated_embeddings_change_nothing(form):
    rotation = np.linalg.qr(RNG.normal(size=(D, D)))[0].astype(np.float32)
    shuffle = RNG.permutation(N)
    first = loss(Z, S, form=form)
    np.testing.assert_allclose(loss(Z[:, shuffle], S[:, shuffle], form=form), first, rtol=1e-5)
    np.testing.assert_allclose(loss(Z @ rotation, S, form=form), first, rtol=1e-5)


@pytest.mark.parametrize("form", ["hinge", "listwise"])
def test_gradients_are_finite_where_embeddings_coincide(form):
    for z in (np.ones_like(Z), np.zeros_like(Z), np.concatenate([Z[:2], Z[1:2], Z[3:]])):
        slope = jax.jit(jax.grad(lambda z: order_preservation(unit(z), S, form=form)))(z)
        assert np.isfinite(slope).all()


def test_a_step_down_the_gradient_orders():
    z, slope = jnp.asarray(Z), jax.jit(jax.grad(lambda z: order_preservation(z, S)))
    before = loss(Z, S)
    for _ in range(200):
        z = z - 0.5 * slope(z)
    assert loss(z, S) < 0.02 * before


def test_images_that_did_not_move_do_not_count():
    still = S.copy()
    still[:, 2] = 0
    moved = [n for n in range(N) if n != 2]
    for form in ("hinge", "listwise"):
        np.testing.assert_allclose(
            loss(Z, still, form=form), loss(Z[:, moved], S[:, moved], form=form), rtol=1e-5
        )
    assert loss(Z, np.zeros_like(S)) == 0


def test_memory_grows_with_the_square_of_the_rungs():
    def working(rungs):
        shapes = jnp.ones((rungs, 1, 2)), jnp.linspace(0, 1, rungs)[:, None]
        slope = jax.jit(jax.grad(lambda z, s: order_preservation(z, s, margin=0.2)))
        return slope.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    assert working(256) < 5 * working(128)  # 8 if all anchors' pairs were kept


@pytest.mark.parametrize(
    ("z", "s", "options", "message"),
    [
        (Z[:2], S[:2], {}, "at least 3 rungs"),
        (Z, S[::-1], {}, "must increase"),
        (Z, np.where(np.arange(V)[:, None] == 3, S[2], S), {}, "must increase.*leave out equal"),
        (Z, S[:, :3], {}, r"embeddings \[V, N, D\]"),
        (Z[0], S, {}, r"embeddings \[V, N, D\]"),
        (Z, S, {"form": "pairwise"}, "'hinge' or 'listwise'"),
        (Z, S, {"margin": -1.0}, "margin"),
        (Z, S, {"temperature": 0.0}, "temperature"),
    ],
)
def test_bad_input(z, s, options, message):
    with pytest.raises(ValueError, match=message):
        order_preservation(jnp.asarray(z), jnp.asarray(s), **options)
