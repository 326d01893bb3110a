"""The suite reports every number under its name, or says why it does not."""

import json
import math
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.data import partition
from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures import evaluate, knn_accuracy, raw_pixels, settings
from eqssl_jax.measures.classes import care_probe
from eqssl_jax.transforms.base import Transform

CLASSES = tuple("abcdef")


COUNTS = {"train": 240, "validation": 60, "test": 120, "out_of_range": 50}


BUDGET = settings(
    "quick", batch=64, probe_steps=60, seeds=(0, 1), augmentations=4, pairs=2, queries=30,
    knn_neighbours=20, rotation_images=90, pair_images=40, ladder_rungs=4, ladder_images=60,
)  # fmt: skip


def read(pool, inputs):
    return pool[inputs]


def turn_hue(params, x):
    """Turn the plane of the first two channels: a hue that composes exactly."""
    angle = 2 * jnp.pi * params["jitter"]["hue"]
    matrix = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
    turned = (x[..., :2] - 0.5) @ matrix.T + 0.5
    return jnp.concatenate([turned, x[..., 2:]], axis=-1)


COLOUR = Transform(
    lambda key: {"jitter": {"hue": jax.random.uniform(key)}},
    turn_hue,
    {"jitter": {"hue": jnp.zeros(())}},
)


def split(name):
    """The class is a level of the third channel, the hue an angle in the first two."""
    count, rng = COUNTS[name], np.random.default_rng(sorted(COUNTS).index(name))
    y, hue = rng.integers(0, 6, count).astype(np.int32), rng.uniform(size=count)
    colour = [0.5 + 0.3 * np.cos(2 * np.pi * hue), 0.5 + 0.3 * np.sin(2 * np.pi * hue)]
    means = np.stack([*colour, 0.1 + 0.15 * y], axis=-1)[:, None, None]
    images = means + 0.02 * rng.normal(size=(count, 4, 4, 3))
    factors = {"hue": hue.astype(np.float32)}
    return Split(count, jnp.asarray(images, jnp.float32), read, y, factors)


def equivariant(images):
    mean = jnp.mean(images, axis=(1, 2)) - 0.5
    return mean, mean


def invariant(images):
    mean = jnp.mean(images, axis=(1, 2))
    level = mean[:, 2:] * jnp.ones((1, 3)) * jnp.array([[1.0, 0.0, 0.0]]) + 0.2
    return level, level


ENCODERS = {"trained": equivariant, "random": invariant, "pixels": raw_pixels}


@pytest.fixture(scope="module")
def dataset():
    return Dataset(
        "toy", (4, 4, 3), CLASSES, (0.5,) * 3, (0.2,) * 3, {name: split(name) for name in COUNTS}
    )


@pytest.fixture(scope="module")
def evaluated(dataset):
    budget = BUDGET._replace(steering_draws=8, steering_images=30, steering_parts=("jitter",))
    return evaluate(ENCODERS, dataset, COLOUR, jax.random.key(0), settings=budget)


def test_every_name_is_a_number_or_a_reason(evaluated):
    result, _ = evaluated
    names = {
        "knn", "probe_top1", "probe_top5", "care_probe_top1", "wahba", "wahba_per_root_n",
        "wahba_held_out_per_root_n", "gamma", "gamma_dropped", "gram_error", "invariance_error",
        "rotation_residual", "composition_error", "composition_relative", "composition_on_data",
        "effective_rank", "r2_hue", "r2_hue_per_dimension", "r2_hue_out_of_range",
        "neighbour_overlap", "neighbour_rank", "retrieved_hue_distance", "order_accuracy_jitter",
        "kendall_tau_jitter_embedding", "magnitude_r2_jitter", "change_r2_jitter_hue_embedding",
        "turntable_order_accuracy", "order_accuracy_amid_jitter_embedding", "positive_cosine",
        "cosine_variance",
    }  # fmt: skip
    for name in ENCODERS:
        for metric in names:
            number = result["encoders"][name].get(metric)
            assert number or metric in result["skipped"], (name, metric)
            if number:
                assert set(number) == {"value", "sd", "n"} and math.isfinite(number["value"])
    assert "r2_angle" not in result["encoders"]["trained"]
    assert json.loads(json.dumps(result, allow_nan=False)) == json.loads(json.dumps(result))


def test_equivariant_encoder_beats_its_floors(evaluated):
    trained, random = (evaluated[0]["encoders"][name] for name in ("trained", "random"))
    assert trained["rotation_residual"]["value"] < 1e-6
    assert trained["composition_on_data"]["value"] < 1e-3
    assert trained["gram_error"]["value"] < 1e-10
    assert trained["r2_hue"]["value"] > 0.95 > 0.5 > random["r2_hue"]["value"]
    assert trained["r2_hue_out_of_range"]["n"] == 50
    assert trained["steering_closed_jitter"]["value"] > 0.5
    assert set(evaluated[0]["steering"]["trained"]["jitter"]["measures"]) >= {"error", "mrr"}
    assert evaluated[0]["chance"]["steering_view_hit1_jitter"] == 1 / 8
    assert trained["probe_top1"]["value"] > 0.4 and trained["probe_top1"]["n"] == 2
    # The colour of the query moves its neighbours, and to that colour.
    assert trained["neighbour_overlap"]["value"] < 0.1
    assert trained["retrieved_hue_distance"]["value"] < 0.05
    assert random["neighbour_overlap"]["value"] > 0.9
    assert random["retrieved_hue_distance"]["value"] > 0.15
    assert trained["retrieved_hue_followed"]["value"] > 0.95
    chance = evaluated[0]["chance"]["retrieved_hue_followed"]
    assert random["retrieved_hue_followed"]["value"] == pytest.approx(chance, abs=0.15)
    assert evaluated[0]["settings"]["hue_shift"] == pytest.approx(1 / 3)


def test_missing_numbers_have_a_reason(evaluated):
    skipped = evaluated[0]["skipped"]
    assert skipped["care_probe_top1"] == "left out: care_epochs is 0"
    assert skipped["wahba_held_out_per_root_n"].startswith("pixels: needs more than 96 images")
    assert skipped["steering_jitter"].startswith("pixels: needs more than 48 images")
    assert skipped["steering_closed_jitter"].startswith("random: no rotation")
    assert "wahba" in evaluated[0]["encoders"]["pixels"]


def test_order_has_its_floors_and_its_spectrum(evaluated):
    result, arrays = evaluated
    trained, random = (result["encoders"][name] for name in ("trained", "random"))
    for suffix in ("", "_embedding"):
        assert trained[f"order_accuracy_jitter{suffix}"]["n"] == 60
        assert trained[f"order_accuracy_jitter{suffix}"]["value"] > 0.55
        assert random[f"order_accuracy_jitter{suffix}"]["value"] == pytest.approx(0.5, abs=0.1)
        assert trained[f"change_r2_jitter_hue_per_dimension{suffix}"]["value"] > 0.3
        assert result["chance"][f"order_accuracy_jitter{suffix}"] == 0.5
        assert result["chance"][f"order_accuracy_amid_jitter{suffix}"] == 0.5
        # There is no other part here that could be drawn.
        assert (
            trained[f"order_accuracy_amid_jitter{suffix}"]
            == trained[f"order_accuracy_jitter{suffix}"]
        )
        assert result["chance"][f"kendall_tau_jitter{suffix}"] == 0
        assert result["chance"][f"magnitude_r2_jitter{suffix}"] == 0
    assert "turntable" in result["skipped"]["turntable_order_accuracy"]
    assert list(result["spectrum"]) == list(arrays.spectrum) == list(ENCODERS)
    for name, spectrum in result["spectrum"].items():
        assert spectrum["layers"] == ["features", "embedding"] and spectrum["parts"] == ["jitter"]
        for table in ("order_accuracy", "order_accuracy_amid", "kendall_tau", "magnitude_r2"):
            assert spectrum[table] == arrays.spectrum[name][table].tolist()
            values = result["encoders"][name]
            assert spectrum[table][0][0] == values[f"{table}_jitter"]["value"]
            assert spectrum[table][1][0] == values[f"{table}_jitter_embedding"]["value"]


def test_layers_and_turntables(dataset):
    """Frames of two turns whose angle is the hue: an encoder of hues keeps their order."""

    def layers(images):
        features, embedding = equivariant(images)
        return OrderedDict(stem=jnp.mean(images, axis=1)[:, 0], features=features,
                           embedding=embedding)  # fmt: skip

    test = dataset.splits["test"]
    angle = 2 * np.pi * test.factors["hue"]
    angle[::40] = np.nan
    turns = {"turntable": angle, "sequence": (np.arange(120) % 2).astype(np.float32)}
    splits = {**dataset.splits, "test": test._replace(factors=turns)}
    budget = BUDGET._replace(queries=0, augmentations=1, pairs=0, ladder_images=32)
    result, arrays = evaluate(
        {"trained": equivariant, "random": invariant},
        dataset._replace(splits=splits),
        COLOUR,
        jax.random.key(0),
        settings=budget,
        layers={"trained": layers},
    )
    assert arrays.spectrum["trained"]["layers"] == ["stem", "features", "embedding"]
    assert arrays.spectrum["random"]["layers"] == ["features", "embedding"]
    number = result["encoders"]["trained"]["turntable_order_accuracy"]
    # Not 1: at length 1 the class, a level of the third channel, counts too.
    assert number["value"] > 0.65 and number["n"] == 2 and number["sd"] is not None
    floor = result["encoders"]["random"]["turntable_order_accuracy_embedding"]
    assert floor["value"] == pytest.approx(0.5, abs=0.1)
    assert result["chance"]["turntable_order_accuracy_embedding"] == 0.5


def test_ladders_can_be_left_out(dataset):
    budget = BUDGET._replace(queries=0, augmentations=1, pairs=0, ladder_images=0)
    result, arrays = evaluate(
        {"trained": equivariant}, dataset, COLOUR, jax.random.key(0), settings=budget
    )
    assert result["spectrum"] == arrays.spectrum == {}
    assert result["skipped"]["order_accuracy"] == "left out: ladder_images is 0"


def test_numbers_are_those_of_the_parts(dataset, evaluated):
    images = {name: np.asarray(equivariant(dataset.splits[name].pool)[0]) for name in COUNTS}
    expected = knn_accuracy(
        images["train"], dataset.splits["train"].labels, images["test"],
        dataset.splits["test"].labels, k=20,
    )  # fmt: skip
    assert evaluated[0]["encoders"]["trained"]["knn"] == {"value": expected, "sd": None, "n": 120}


def test_chance_is_the_most_frequent_class(dataset, evaluated):
    chance = evaluated[0]["chance"]
    counts = np.bincount(dataset.splits["test"].labels)
    assert chance["knn"] == counts.max() / 120
    assert chance["probe_top5"] == pytest.approx(1 - counts.min() / 120)


def test_arrays_for_figures(dataset, evaluated):
    arrays = evaluated[1]
    assert arrays.cosines["trained"].shape == (4, 90)
    assert arrays.study["trained"].cosines is arrays.cosines["trained"]
    assert arrays.study["trained"].positive_cosines.shape == (2, 90)
    assert arrays.before["trained"].shape == arrays.after["trained"].shape == (30, 5)
    assert arrays.split == "test" and arrays.queries.shape == (30,)
    # The recipe draws up to a whole turn: a third of one is inside.
    assert float(arrays.hue["jitter"]["hue"]) == pytest.approx(1 / 3)
    hues = dataset.splits["train"].factors["hue"][arrays.before["trained"]]
    gap = np.abs(hues - dataset.splits["test"].factors["hue"][arrays.queries][:, None])
    assert np.minimum(gap, 1 - gap).mean() < 0.05


def test_each_split_is_read_once_for_its_features(dataset):
    reads = []

    def load(indices):
        reads.append(len(indices))
        return np.asarray(dataset.splits["train"].pool)[indices]

    streamed = Split(240, (), lambda pool, x: x, dataset.splits["train"].labels, load=load)
    splits = {"train": streamed, "test": dataset.splits["test"]}
    result, _ = evaluate(
        {"trained": equivariant}, dataset._replace(splits=splits), COLOUR, jax.random.key(0),
        settings=BUDGET,
    )  # fmt: skip
    assert sum(reads) == 2 * 256  # four batches of 64, for features and for unknown hues
    assert "chosen on" in result["skipped"]["probe_top1"]


def test_without_labels_factors_or_hue(dataset):
    bare = {k: s._replace(labels=None, factors={}) for k, s in dataset.splits.items()}
    dim = Transform(lambda key: {"by": jax.random.uniform(key)}, lambda p, x: x * p["by"],
                    {"by": jnp.ones(())})  # fmt: skip
    data = dataset._replace(splits=bare, classes=())
    result, arrays = evaluate(
        {"trained": equivariant}, data, dim, jax.random.key(0), settings=BUDGET
    )
    assert result["skipped"]["knn"] == "toy has no labels"
    assert "none of the factors hue" in result["skipped"]["r2"]
    assert result["skipped"]["neighbour_overlap"] == "the transformation never shifts the hue"
    assert "gram_error" in result["encoders"]["trained"]
    assert not arrays.before and arrays.hue is None


def test_a_small_split_gives_what_it_can(dataset):
    few = {
        "train": partition.subset(dataset.splits["train"], np.arange(8)),
        "validation": partition.subset(dataset.splits["validation"], np.arange(4)),
        "test": partition.subset(dataset.splits["test"], np.arange(1)),
    }
    data = dataset._replace(splits=few)
    result, _ = evaluate({"trained": equivariant}, data, COLOUR, jax.random.key(0), settings=BUDGET)
    skipped, trained = result["skipped"], result["encoders"]["trained"]
    assert "knn" in trained and result["settings"]["knn_neighbours"] == 8  # all there are
    assert "targets without variance: all 1 values" in skipped["r2"]
    assert skipped["gamma"] == skipped["effective_rank"] == "needs two images; found 1"
    assert {"probe_top1", "invariance_error", "neighbour_overlap"} <= set(trained)
    one_class = {
        k: s._replace(labels=np.zeros(s.size, np.int32)) for k, s in dataset.splits.items()
    }
    data = dataset._replace(splits=one_class)
    result, _ = evaluate({"trained": equivariant}, data, COLOUR, jax.random.key(0), settings=BUDGET)
    assert result["skipped"]["probe_top1"] == "all images are of one class"
    assert "gamma" in result["encoders"]["trained"]


def test_two_dimensions_are_enough(dataset):
    """The circle study: embeddings of the hue on a circle, and every number of the suite."""

    def circle(images):
        features, embedding = equivariant(images)
        return features, embedding[:, :2]

    result, arrays = evaluate(
        {"trained": circle}, dataset, COLOUR, jax.random.key(0), settings=BUDGET
    )
    trained = result["encoders"]["trained"]
    needed = {"wahba", "wahba_held_out_per_root_n", "gamma", "composition_error", "effective_rank",
              "order_accuracy_jitter_embedding", "neighbour_overlap"}  # fmt: skip
    assert needed <= set(trained)
    assert trained["rotation_residual"]["value"] < 1e-6  # a hue is an angle there, and turns
    assert trained["cosine_variance"]["value"] < 1e-6
    assert 1 <= trained["effective_rank"]["value"] <= 2
    assert arrays.study["trained"].circle.shape == (5, 90, 2)


def test_an_invariant_encoder_has_no_gamma(dataset):
    evaluated = evaluate(
        {"trained": invariant}, dataset, COLOUR, jax.random.key(0), settings=BUDGET
    )
    result = evaluated[0]
    assert "no augmentation moves" in result["skipped"]["gamma"]
    dropped = result["encoders"]["trained"]["gamma_dropped"]
    assert dropped["value"] == dropped["n"] == 4 * 40 * 39 // 2


def test_care_probe_runs_when_asked(dataset):
    budget = BUDGET._replace(care_epochs=2, care_batch=60, queries=0, augmentations=1, pairs=0)
    result, _ = evaluate(
        {"trained": equivariant}, dataset, COLOUR, jax.random.key(0), settings=budget
    )
    assert 0 <= result["encoders"]["trained"]["care_probe_top1"]["value"] <= 1
    assert result["skipped"]["neighbour_overlap"] == "left out: queries is 0"


def test_the_probe_has_its_own_augmentation(dataset, monkeypatch):
    other, seen = COLOUR._replace(sample=lambda key: COLOUR.identity), []

    def probe(encode, data, transform, **options):
        seen.append(transform)
        raise ValueError("watched")

    monkeypatch.setattr(care_probe, "care_probe", probe)
    budget = BUDGET._replace(queries=0, augmentations=1, pairs=0, ladder_images=0, care_epochs=1)
    args = ({"trained": equivariant}, dataset, COLOUR, jax.random.key(0))
    changed, _ = evaluate(*args, settings=budget, probe_transform=other)
    plain, _ = evaluate(*args, settings=budget)
    assert seen == [other, COLOUR]
    wahba = [evaluation["encoders"]["trained"]["wahba"] for evaluation in (changed, plain)]
    assert wahba[0] == wahba[1]  # what is measured stays that of `transform`


def test_bad_input_is_named(dataset):
    with pytest.raises(ValueError, match="needs encoders"):
        evaluate({}, dataset, COLOUR, jax.random.key(0))
    alone = dataset._replace(splits={"train": dataset.splits["train"]})
    budget = BUDGET._replace(steering_draws=8, steering_parts=("spin",))
    with pytest.raises(ValueError, match=r"steering_parts is \('spin',\)"):
        evaluate(ENCODERS, dataset, COLOUR, jax.random.key(0), settings=budget)
    with pytest.raises(ValueError, match=r"splits \['train'\] of toy"):
        evaluate(ENCODERS, alone, COLOUR, jax.random.key(0))
