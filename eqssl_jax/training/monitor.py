"""How good the encoder is while it trains: kNN on the validation split."""

from collections.abc import Callable

from eqssl_jax.measures import extract, knn_accuracy, subset
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState

Monitor = Callable[[TrainState], float]


def make_monitor(run: Setup) -> Monitor | None:
    """kNN accuracy of the frozen encoder on the validation split; None without labels.

    Bank and queries are the fixed subsets of config.knn, so that numbers of all steps compare.
    """
    bank, queries = run.dataset.splits.get("train"), run.dataset.splits.get("validation")
    settings = run.config.knn
    if bank is None or queries is None or bank.labels is None or queries.labels is None:
        return None
    bank_rows, query_rows = subset(bank.size, settings.bank), subset(queries.size, settings.queries)
    bank_labels, query_labels = bank.labels[bank_rows], queries.labels[query_rows]

    def monitor(state: TrainState) -> float:
        encode = run.encoder(state)
        return knn_accuracy(
            extract(encode, bank, indices=bank_rows).features,
            bank_labels,
            extract(encode, queries, indices=query_rows).features,
            query_labels,
            k=min(settings.neighbours, len(bank_rows)),
            temperature=settings.temperature,
            classes=len(run.dataset.classes),
        )

    return monitor
