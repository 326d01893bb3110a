"""Accuracy of the classifier of supervised and fine-tuned runs."""

import numpy as np

from eqssl_jax.measures.cards import HIGHER, Card, Measured, Number, Output
from eqssl_jax.measures.classes.knn import most_frequent
from eqssl_jax.measures.subjects import Seen


def _measure(seen: Seen) -> Measured:
    classify, labels = seen.subject.classifier, seen.labels(seen.held_out)
    assert classify is not None  # it is needed
    scores = np.asarray(classify(seen.features(seen.held_out)))
    return Measured({"classifier_top1": Number(float(np.mean(scores.argmax(1) == labels)),
                                               n=len(labels))})  # fmt: skip


CARD = Card(
    name="classifier",
    measure=_measure,
    outputs=(
        Output("classifier_top1", "Trained classifier, top-1", HIGHER, ".1%", chance=most_frequent,
               headline=True),
    ),
    needs=("classifier", "labels"),
    rank=5,
)  # fmt: skip
