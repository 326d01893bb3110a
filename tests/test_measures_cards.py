"""A measure is one file: a card from outside appears wherever its numbers are shown."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import page, tabular
from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.encoders.host import host_encoder
from eqssl_jax.measures import Card, Output, Subject, built_in, cards, evaluate, settings, subjects
from eqssl_jax.measures.cards import NEEDS
from eqssl_jax.measures.features import EncoderFault
from eqssl_jax.transforms import Transform, chain

OUTSIDE = '''
from eqssl_jax.measures import HIGHER, Card, Output, neighbours
from eqssl_jax.settings import whole


def overlap(seen):
    """Share of the k nearest features that are also among the k nearest embeddings."""
    k, bank = seen.settings.overlap_neighbours, seen.rows("train")
    queries = seen.rows(seen.held_out)
    near = neighbours(queries.features, bank.features, k=k)
    embedded = neighbours(queries.embeddings, bank.embeddings, k=k)
    shared = [len(set(one) & set(two)) for one, two in zip(near, embedded)]
    return {"topk_overlap": sum(shared) / (k * len(shared))}


CARD = Card("topk", overlap, (Output("topk_overlap", "Overlap of neighbours", HIGHER, ".1%",
            chance=0.25),), needs=("train",), settings={"overlap_neighbours": whole(5, "k", low=1)})
'''
CHEAP = ("knn", "effective_rank", "factors", "prediction_gain", "gamma", "neighbours")


def read(pool, inputs):
    return pool[inputs]


def lift():
    return Transform(
        lambda key: {"by": jax.random.uniform(key, (), minval=0.1, maxval=0.4)},
        lambda params, x: x.at[..., 0].add(params["by"]),
        {"by": jnp.zeros(())},
    )


def dataset(test=12, labels=True):
    def split(count, seed):
        rng = np.random.default_rng(seed)
        y = (np.arange(count) % 2).astype(np.int32)
        x = rng.uniform(0, 0.5, size=(count, 2, 2, 3)).astype(np.float32)
        return Split(count, jnp.asarray(x), read, y if labels else None)

    counts = {"train": 20, "validation": 10, "test": test}
    splits = {name: split(n, i) for i, (name, n) in enumerate(counts.items())}
    return Dataset("toy", (2, 2, 3), ("a", "b"), (0.5,) * 3, (0.2,) * 3, splits)


def mean(images):
    flat = images.reshape(images.shape[0], -1)
    return flat, flat[:, :3]


@pytest.fixture
def outside(tmp_path, monkeypatch):
    (tmp_path / "my_measure.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_measure:CARD"
    sys.modules.pop("my_measure", None)


def measured(encoder, data, chosen, **options):
    budget = settings(
        "quick", cards=chosen, batch=16, augmentations=2, pairs=0, knn_neighbours=5, **options
    )
    encoders = {"trained": encoder, "random": mean}
    recipe = chain(lift=lift())
    return evaluate(encoders, data, recipe, jax.random.key(0), settings=budget, cards=chosen)[0]


def few(*outside):
    return [card for card in cards(outside) if card.name in (*CHEAP, "topk")]


def test_a_card_from_outside_is_in_the_json_the_table_the_page_and_the_notes(outside):
    result = {"step": 3, "dataset": "toy", **measured(mean, dataset(), few(outside))}
    number = result["encoders"]["trained"]["topk_overlap"]
    assert 0 < number["value"] <= 1 and result["chance"]["topk_overlap"] == 0.25
    assert result["settings"]["overlap_neighbours"] == 5
    table = tabular.comparison_table({"run": result})
    assert "Overlap of neighbours ↑" in tabular.as_text(table.sheet())
    assert "topk_overlap,higher" in tabular.as_csv(table.sheet())
    shown = [
        text for part in page.numbers.number_tables({"run": result}) for text in part.itertext()
    ]
    assert any("Overlap of neighbours" in text for text in shown)
    missing = {"step": 3, "dataset": "toy",
               **measured(mean, dataset(), few(outside), overlap_neighbours=21)}  # fmt: skip
    assert "topk_overlap" not in missing["encoders"]["trained"]
    notes = " ".join(tabular.comparison_table({"run": missing}).notes)
    assert "Overlap of neighbours (k must lie in 1 … 20" in notes


@pytest.mark.parametrize(
    ("needs", "message"),
    [('("label",)', r"needs has 'label' \(did you mean 'labels'\?\)"), ('"train"', "is 'train', ")],
)
def test_a_need_that_there_is_not_is_refused(tmp_path, outside, needs, message):
    path = tmp_path / "my_measure.py"
    path.write_text(path.read_text().replace('needs=("train",)', f"needs={needs}"))
    with pytest.raises(ValueError, match=f"names 'my_measure:CARD', .*{message}.*tuple of train"):
        cards([outside])
    every = {*subjects.NEEDS, *subjects.KINDS}
    assert every == set(NEEDS) >= {n for card in built_in() for n in card.needs}


def test_one_image_one_class_and_no_labels_leave_the_rest():
    result = measured(mean, dataset(test=1), few())
    assert result["skipped"]["gamma"] == "needs two images; found 1"
    assert "head" in result["skipped"]["displacement_gain"]
    assert "knn" in result["encoders"]["trained"]
    result = measured(mean, dataset(labels=False), few())
    assert result["skipped"]["knn"] == "toy has no labels"
    assert "gamma" in result["encoders"]["trained"]


def test_faults_of_code_and_of_encoders_are_no_reasons():
    fault = Card("fault", lambda seen: np.ones(2) + np.ones(3), (Output("fault", "Fault"),))
    with pytest.raises(ValueError, match="broadcast"):
        measured(mean, dataset(), [*few(), fault])
    typo = Card("typo", lambda seen: seen.nothing, (Output("typo", "Typo"),))
    with pytest.raises(AttributeError):
        measured(mean, dataset(), [*few(), typo])
    with pytest.raises(EncoderFault, match="NaN or infinite values for images of the train"):
        measured(lambda x: (x.reshape(len(x), -1) / 0, mean(x)[1]), dataset(), few())


def test_a_function_of_the_host_is_measured_as_one_of_jax_and_never_traced():
    def plain(images):
        assert type(images) is np.ndarray and len(images) <= 16
        return images.reshape(len(images), -1), images.reshape(len(images), -1)[:, :3]

    result = measured(host_encoder(plain, name="plain", batch=16), dataset(), built_in())
    assert "ladder" not in str(result["skipped"].get("order_accuracy_amid_lift"))
    on_host, in_jax = result["encoders"]["trained"], result["encoders"]["random"]
    assert set(on_host) == set(in_jax) and "order_accuracy_amid_lift" in on_host
    for name in on_host:
        assert on_host[name]["value"] == pytest.approx(in_jax[name]["value"], rel=1e-4, abs=1e-5), (
            name
        )
    with pytest.raises(EncoderFault, match="gave NaN"):
        measured(host_encoder(lambda x: np.full((len(x), 3), np.nan), name="bad"), dataset(), few())


def test_a_head_is_measured_where_there_is_one():
    def head(before, after, params):
        return after[:, :3], after[:, :3], before[:, :3]  # predicts exactly

    subject = Subject(mean, {"equimod": head})
    result = measured(subject, dataset(), few())
    gain = result["encoders"]["trained"]["displacement_gain"]
    assert gain["value"] > 0 and gain["n"] == 2 and "random: no head" in str(result["skipped"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("CARD = 3", "which is int: it must be an eqssl_jax.measures.Card"),
        (OUTSIDE.replace('"topk_overlap"', '"knn"'), "outputs \\['knn'\\] that are taken"),
        (OUTSIDE.replace('"topk"', '"gamma"'), "'gamma' has a name"),
        ("raise RuntimeError('broken')", "cannot be imported"),
    ],
)
def test_what_is_no_card_is_refused(outside, body, message, tmp_path):
    (tmp_path / "other_measure.py").write_text(body)
    sys.modules.pop("other_measure", None)
    with pytest.raises(ValueError, match=message):
        cards(["other_measure:CARD"])


def test_cards_are_complete():
    names = [output.name for card in built_in() for output in card.outputs]
    assert len(names) == len(set(names))
    quick, full = settings("quick"), settings("full")
    for card in built_in():
        assert set(card.quick) <= set(card.settings) and card.outputs, card.name
    assert quick._fields == full._fields
