"""What features are worth on other data: a linear probe, neighbours, and a few images a class."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from eqssl_jax import data as sources
from eqssl_jax import storage, tabular
from eqssl_jax.data.base import Dataset
from eqssl_jax.data.named import check_text, named
from eqssl_jax.encoders.frozen import Encoder
from eqssl_jax.experiment.load import load
from eqssl_jax.measures.cards import Number, TooFew
from eqssl_jax.measures.classes.knn import knn_accuracy
from eqssl_jax.measures.classes.lbfgs import WEIGHTS, grid, lbfgs_probe
from eqssl_jax.measures.features import extract
from eqssl_jax.measures.subjects import unit
from eqssl_jax.training.workdir import write_json

NEIGHBOURS, TEMPERATURE = 20, 0.07  # of Caron et al. 2021, arXiv:2104.14294
Part = tuple[Float[np.ndarray, "n h"], Int[np.ndarray, " n"]]


class Transferred(NamedTuple):
    """One encoder on one data set; numbers by name, with how many draws or images are behind."""

    encoder: str
    data: str
    numbers: Mapping[str, Number]
    facts: Mapping[str, Any]


def transfer(
    encoders: Sequence[str],
    data: Sequence[str],
    out: Path,
    *,
    directory: str = "",
    shots: Sequence[int] = (1, 5, 10),
    draws: int = 5,
    weights: int = WEIGHTS,
    images: int | None = None,
    untrained: bool = True,
    size: int = 0,
    **options: Any,
) -> list[Transferred]:
    """Measure frozen features of every encoder on every data set; a table, a CSV and a JSON.

    | column       | how                                                                        |
    |--------------|----------------------------------------------------------------------------|
    | linear probe | L-BFGS, the weight of L2 chosen on validation (`lbfgs.lbfgs_probe`)         |
    | kNN          | 20 neighbours among the training images, temperature 0.07                  |
    | k-shot       | nearest mean of k training images a class by cosine; mean ± sd over draws   |

    All test on the whole test split, once. A set that cannot be read or measured (labels of one
    class) is left out with the reason.

    Args:
      encoders: what `load` opens.
      data: what `data.named.named` takes; NAME@DIRECTORY for sets that lie in several places.
      out: a folder.
      directory: of data that are named.
      shots: images a class of few-shot.
      draws: of these images; the same for every encoder.
      weights: how many candidates lie between 1e-6 and 1e5.
      images: at most so many training images, a fixed random choice; None: all.
      untrained: beside each run its encoder before training.
      size: images are brought to size × size; 0: as the encoder needs.
      **options: of `load`.

    Raises:
      ValueError: without an encoder or data, for one of them twice or numbers out of range, and if
        nothing can be measured.
      OSError: as `load`, and if `out` cannot be written.
    """
    _check(encoders, data, shots, (draws, weights, 1 if images is None else images, size + 1))
    storage.make_folder(out, "--out")
    opened = _opened(encoders, options)
    if untrained:
        opened += [before for encoder in opened if (before := _before(encoder))]
    measured: list[Transferred] = []
    refused: list[str] = []
    read: dict[tuple[str, int], Dataset] = {}
    for set_name in data:
        for encoder in opened:
            side = size or (encoder.image_shape or (0,))[0]
            try:
                if (set_name, side) not in read:
                    read = {(set_name, side): _read(set_name, directory, side)}
                print(f"{encoder.name} on {set_name} ...", flush=True)
                dataset = read[set_name, side]._replace(name=_title(set_name, data))
                measured.append(_measured(encoder, dataset, shots, draws, grid(weights), images))
            except (ValueError, OSError) as error:
                refused.append(f"{encoder.name} on {set_name}: {error}")
                print(f"Left out: {refused[-1]}", flush=True)
    if not measured:
        raise ValueError(f"Nothing could be measured. {refused[0]}")
    _write(out, measured, refused)
    return measured


def _opened(encoders: Sequence[str], options: Mapping[str, Any]) -> list[Encoder]:
    """The encoders; those whose short names are the same are called as they were given."""
    opened = {given: load(given, **options) for given in encoders}
    names = Counter(encoder.name for encoder in opened.values())
    return [
        dataclasses.replace(encoder, name=given) if names[encoder.name] > 1 else encoder
        for given, encoder in opened.items()
    ]


def _title(set_name: str, data: Sequence[str]) -> str:
    """What a set is called in tables: as it was given, without @DIRECTORY where that is clear.

    >>> _title("fruits360@a", ["fruits360@a"]), _title("folder@a", ["folder@a", "folder@b"])
    ('fruits360', 'folder@a')
    """
    short = set_name.partition("@")[0]
    return short if [name.partition("@")[0] for name in data].count(short) == 1 else set_name


def _before(encoder: Encoder) -> Encoder | None:
    """The encoder that a run started from; None where that is not known."""
    if encoder.untrained is None:
        return None
    name = f"{encoder.name} untrained"
    return dataclasses.replace(encoder, name=name, forward=encoder.untrained(), untrained=None)


def _check(
    encoders: Sequence[str], data: Sequence[str], shots: Sequence[int], counts: Sequence[int]
) -> None:
    for name in [data] if isinstance(data, str) else data:
        check_text(name)
    if not encoders or not len(data):
        raise ValueError("transfer needs at least one --encoder and one --data.")
    for flag, given in (("--encoder", encoders), ("--data", data)):
        if twice := [name for name, count in Counter(given).items() if count > 1]:
            raise ValueError(f"{flag}={twice[0]} is given twice: its rows would be the same.")
    if min([*shots, *counts]) < 1:
        draws, weights, images, sides = counts
        raise ValueError(
            f"--shots, --draws, --weights and --images are numbers of at least 1 and --size of at "
            f"least 0, found {list(shots)}, {draws}, {weights}, {images} and {sides - 1}."
        )


def _read(name: str, directory: str, side: int) -> Dataset:
    source, place = named(name, directory)
    dataset = sources.load(name=source, directory=place, size=side or None)
    if not dataset.classes or not {"validation", "test"} <= set(dataset.splits):
        raise ValueError(f"{name} has no labelled train, validation and test images.")
    return dataset


def _measured(
    encoder: Encoder,
    dataset: Dataset,
    shots: Sequence[int],
    draws: int,
    weights: Sequence[float],
    images: int | None,
) -> Transferred:
    parts: dict[str, Part] = {}
    encode: Any = encoder  # which `extract` knows
    for name in ("train", "validation", "test"):
        split = dataset.splits[name]
        rows = extract(encode, split, batch=128, limit=images if name == "train" else None)
        parts[name] = rows.features, np.asarray(split.labels)[rows.indices]
    train, test = parts["train"], parts["test"]
    classes, count = len(dataset.classes), len(test[1])
    probe = lbfgs_probe(train, parts["validation"], test, classes=classes, weights=weights)
    k = min(NEIGHBOURS, len(train[1]))
    knn = knn_accuracy(*train, *test, k=k, temperature=TEMPERATURE, classes=classes)
    numbers = {"linear probe": Number(probe.top1, n=count), "kNN": Number(knn, n=count)}
    undrawn = {}
    for shot in shots:
        try:
            numbers[f"{shot}-shot"] = few_shot(train, test, shot, classes=classes, draws=draws)
        except TooFew as error:
            undrawn[f"{shot}-shot"] = str(error)
    frequent = float(np.bincount(test[1]).max() / count)
    facts = {"weight": probe.weight, "not_drawn": undrawn,
             "most_frequent_class": frequent, "classes": classes,
             "images": {name: len(labels) for name, (_, labels) in parts.items()}}  # fmt: skip
    return Transferred(encoder.name, dataset.name, numbers, facts)


def few_shot(train: Part, test: Part, shot: int, *, classes: int, draws: int) -> Number:
    """Accuracy of the nearest class mean of `shot` training images each, over several draws.

    Features are brought to length 1, before and after the mean. Draw i is that of seed i.

    Raises:
      TooFew: if a class has fewer images than `shot`.

    Source: the prototypes of Snell, Swersky and Zemel 2017, arXiv:1703.05175, by cosine.
    """
    x, queries = unit(np.asarray(train[0], np.float64)), unit(np.asarray(test[0], np.float64))
    members = [np.flatnonzero(train[1] == label) for label in range(classes)]
    if fewest := [label for label, rows in enumerate(members) if len(rows) < shot]:
        raise TooFew(
            f"Class {fewest[0]} has {len(members[fewest[0]])} training images, and {shot} are drawn"
        )
    scores = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        means = unit(np.stack([x[rng.permutation(rows)[:shot]].mean(axis=0) for rows in members]))
        scores.append(float(np.mean((queries @ means.T).argmax(axis=1) == test[1])))
    sd = float(np.std(scores, ddof=1)) if draws > 1 else None
    return Number(float(np.mean(scores)), sd, draws)


def _write(out: Path, measured: Sequence[Transferred], refused: Sequence[str]) -> None:
    columns = tuple(dict.fromkeys(name for row in measured for name in row.numbers))
    rows: list[tuple[str, ...]] = []
    records: list[list[Any]] = [["data", "encoder", "measure", "value", "sd", "n"]]
    for row in measured:
        cells = [_shown(row.numbers.get(name)) for name in columns]
        frequent = _shown(Number(row.facts["most_frequent_class"]))
        rows.append((row.data, row.encoder, *cells, frequent))
        records += [[row.data, row.encoder, name, *number] for name, number in row.numbers.items()]
    notes = [
        "Accuracy on test in %. Frozen features; one training behind each encoder, if any. k-shot: "
        "mean ± one standard deviation over draws of the k images a class, not over trainings.",
        "Of weights of the probe that are equally good on validation the largest is taken.",
        *dict.fromkeys(
            f"No {name} on {row.data}: {why}."
            for row in measured
            for name, why in row.facts["not_drawn"].items()
        ),
        *(f"Left out: {text}" for text in refused),
    ]
    sheet = tabular.Sheet(
        ("Data", "Encoder"), (*columns, "most frequent class"), rows, notes, records
    )
    print("\n" + tabular.as_text(sheet), flush=True)
    (out / "transfer.md").write_text(tabular.as_markdown(sheet))
    (out / "transfer.csv").write_text(tabular.as_csv(sheet))
    write_json(out / "transfer.json", [
        {**row._asdict(), "numbers": {k: v._asdict() for k, v in row.numbers.items()}}
        for row in measured
    ])  # fmt: skip


def _shown(number: Number | None) -> str:
    """In percent with one decimal.

    >>> _shown(Number(0.5, 0.011, 5)), _shown(None)
    ('50.0 ± 1.1', '–')
    """
    if number is None:
        return "–"
    spread = "" if number.sd is None else f" ± {100 * number.sd:.1f}"
    return f"{100 * number.value:.1f}{spread}"
