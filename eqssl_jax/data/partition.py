"""Cutting and joining splits by fixed rules, the same for every run and seed."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from eqssl_jax.data.base import Split
from eqssl_jax.data.listing import printable
from eqssl_jax.data.pipeline import streamed

_KEY = 0x5E1F  # any constant: it only has to stay the same for ever


def carve(
    split: Split,
    fraction: float,
    together: str | None = None,
    *,
    setting: str = "config.data.validation",
    more: str = "",
) -> tuple[Split, Split]:
    """Cut a split into (the rest, validation) by a rule that depends only on its size.

    Validation is the first round(fraction · size) entries of one fixed Philox permutation, so it is
    the same for every run, seed and machine. Both parts keep the original order.

    With `together`, the name of a factor, examples of one value of it stay together: validation
    takes whole values, in the order of the permutation, until it has round(fraction · size).
    `setting` gave the fraction, and `more` (or else the data) the number of examples: for messages.

    Raises:
      ValueError: if the fraction is not in [0, 1) or leaves one of the two parts empty.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"{setting} must be a fraction in [0, 1), found {fraction}.")
    if together is None:
        kept, held = held_out(split.size, fraction)
    else:
        kept, held = _held_out_together(split.factors[together], fraction)
    if not len(kept) or (fraction > 0 and not len(held)):
        raise ValueError(
            f"{setting} = {fraction} of {split.size} examples would leave {len(kept)} for training "
            f"and {len(held)} held out: choose a fraction that leaves both some, or give more "
            f"examples{f' ({more})' if more else ''}."
        )
    return subset(split, kept), subset(split, held)


def with_validation(
    splits: Mapping[str, Split], fraction: float, together: str | None = None, *, more: str = ""
) -> dict[str, Split]:
    """The splits with "validation" carved from "train" (`carve`); none at fraction 0."""
    train, validation = carve(splits["train"], fraction, together, more=more)
    parts = {**splits, "train": train}
    return {**parts, "validation": validation} if validation.size else parts


def _held_out_together(
    values: Float[np.ndarray, " n"], fraction: float
) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    distinct, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.random.Generator(np.random.Philox(key=_KEY)).permutation(len(distinct))
    before = np.cumsum(counts[order]) - counts[order]  # examples held when a value's turn comes
    chosen = order[before < round(fraction * len(values))]
    held = np.isin(group, chosen)
    return np.flatnonzero(~held).astype(np.int32), np.flatnonzero(held).astype(np.int32)


def held_out(size: int, fraction: float) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Sorted indices (kept, held out) of a fixed random choice; see `carve`."""
    order = np.random.Generator(np.random.Philox(key=_KEY)).permutation(size)
    count = round(fraction * size)
    return np.sort(order[count:]).astype(np.int32), np.sort(order[:count]).astype(np.int32)


def carve_test(
    split: Split, fraction: float = 0.1, *, names: Sequence[str] = ()
) -> tuple[Split, Split]:
    """Cut a labelled split into (the rest, test), holding out the fraction of every class.

    At least one image of each class goes to test, chosen by the rule of `carve` within the class.

    Raises:
      ValueError: if a class has a single image, or there are no labels.
    """
    if split.labels is None:
        raise ValueError("carve_test() holds out images of every class and needs labels.")
    labels, counts = np.unique(split.labels, return_counts=True)
    if single := [names[label] if names else str(label) for label in labels[counts < 2][:10]]:
        raise ValueError(
            f"{np.sum(counts < 2)} of {len(labels)} classes have a single image, so none can be "
            f"held out for a test split: {', '.join(map(printable, single))}. Add images of them, "
            f"leave them out, or give the data set its own test split."
        )
    kept, held = [], []
    for label in labels:
        members = np.flatnonzero(split.labels == label)
        remaining, chosen = held_out(len(members), max(fraction, 1 / len(members)))
        kept.append(members[remaining])
        held.append(members[chosen])
    return (
        subset(split, np.sort(np.concatenate(kept))),
        subset(split, np.sort(np.concatenate(held))),
    )


def subset(split: Split, indices: Int[np.ndarray, " m"]) -> Split:
    """The examples `indices` of a split, renumbered from 0."""
    names = split.names
    chosen = split._replace(
        size=len(indices),
        names=None if names is None else lambda wanted: names(indices[wanted]),
        labels=None if split.labels is None else split.labels[indices],
        factors={name: values[indices] for name, values in split.factors.items()},
    )
    if split.load is None:
        # A rendered split numbers its examples in the pool; no pixels have to be copied.
        rendered = isinstance(split.pool, Mapping)
        rows = split.pool["index"][indices] if rendered else split.pool[indices]
        return chosen._replace(pool={**split.pool, "index": rows} if rendered else rows)
    load = split.load
    return chosen._replace(load=lambda wanted: load(indices[wanted]))


def concatenate(first: Split, second: Split) -> Split:
    """Two streamed splits as one without labels: example i ≥ first.size is second's i − size."""
    load_first, load_second = first.load, second.load
    if load_first is None or load_second is None:
        raise ValueError("concatenate() joins streamed splits; make the result resident after.")

    def load(indices: Int[np.ndarray, " b"]) -> np.ndarray:
        late = indices >= first.size
        parts = [load_first(indices[~late])] if not late.all() else []
        parts += [load_second(indices[late] - first.size)] if late.any() else []
        examples = np.concatenate(parts)  # [B, H, W, C], the early ones first
        return examples[np.argsort(np.argsort(late, kind="stable"))]

    def names(indices: Int[np.ndarray, " b"]) -> list[str]:
        parts = [(first, i) if i < first.size else (second, i - first.size) for i in indices]
        return [names_of(split, np.array([i]))[0] for split, i in parts]

    return streamed(load, size=first.size + second.size)._replace(names=names)


def names_of(split: Split, indices: Int[np.ndarray, " b"]) -> list[str]:
    """Names of some examples of a split: where they come from, or their numbers."""
    if split.names is None:
        return [str(int(index)) for index in indices]
    return list(split.names(indices))
