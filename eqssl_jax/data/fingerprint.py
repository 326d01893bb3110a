"""What a data set was made of, small enough to be kept in a run and compared with later data."""

import base64
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.data.partition import names_of

Fingerprint = dict[str, Any]  # of JSON
Examples = dict[bytes, tuple[str | int, bytes | None, str]]  # class, pixels and split by name

# Sets with more examples than this are compared as a whole, not example by example.
_LISTED = 100_000
# Pixels of splits that take more bytes than this are not read for it.
_READ_BYTES = 2**31
_CHUNK = 1024  # examples read at a time
_ABSENT = -1  # the label of an example without one
_ORDER = ("train", "validation", "test", "unlabeled")


def fingerprint(dataset: Dataset) -> Fingerprint:
    """Count, names, labels, contents and factors of every split, as a dict of JSON.

        {"name": "folder", "classes": ["cat", "dog"], "splits": {"train": {
            "count": 90,              examples
            "names": "9f…",           digest of their names, in any order
            "labels": "1c…" or None,  digest of (name, label)
            "contents": "77…" or None digest of (name, pixels); None for rendered sets and those of
                                      more than 2 GiB, whose pixels are not read for this
            "factors": {"hue": "3a…"} digest of (name, value) of each factor (pose, hue, angle, …)
                                      that is stored, not rendered; older runs have none
            "examples": {…}}}}        48 bits of each name and of its pixels, and its label; only
                                      for sets of up to 100,000 examples

    Digests are BLAKE2b. Names do not depend on where a folder lies, so that data may be moved.
    """
    total = sum(split.size for split in dataset.splits.values())
    size = total * int(np.prod(dataset.image_shape))
    described = {
        name: _split(split, listed=total <= _LISTED, pixels=size <= _READ_BYTES)
        for name, split in dataset.splits.items()
    }
    return {"name": dataset.name, "classes": list(dataset.classes), "splits": described}


def differences(stored: Fingerprint, present: Fingerprint) -> str:
    """What differs between two fingerprints, in words; "" where nothing does.

    An example is the same if its name is or, where none has its name, if its pixels are: a file
    that moves to the folder of another class is relabelled. One image more can move others between
    the splits that a rule carves, so that all changes are counted over all splits. Factors are
    compared where both fingerprints have them, of splits of the same examples.
    """
    changed = _other_factors(stored, present)
    if _whole(stored) == _whole(present):
        return "; ".join(changed)
    if stored["classes"] != present["classes"]:
        changed.append(
            f"the classes were {_few(stored['classes'])} and are {_few(present['classes'])}"
        )
    before, after = _examples(stored), _examples(present)
    if before is None or after is None:
        return "; ".join(changed + _by_split(stored, present))
    common = before.keys() & after.keys()
    pairs, added, removed = _same_pixels(before, after)
    relabelled = sum(before[old][0] != after[new][0] for old, new in pairs)
    changes = {
        "added": added,
        "removed": removed,
        "relabelled": relabelled + sum(before[key][0] != after[key][0] for key in common),
        "renamed": len(pairs) - relabelled,
        "of the same name with other content": sum(
            None not in (before[key][1], after[key][1]) and before[key][1] != after[key][1]
            for key in common
        ),
        "moved to another split": sum(before[key][2] != after[key][2] for key in common),
    }
    changed += [f"{_images(count)} {kind}" for kind, count in changes.items() if count]
    return "; ".join(changed) or "; ".join(_by_split(stored, present))


def _same_pixels(before: Examples, after: Examples) -> tuple[list[tuple[bytes, bytes]], int, int]:
    """Of the names that are gone and new: pairs with equal pixels, and how many others are new and
    gone."""
    gone: dict[bytes | None, list[bytes]] = {}
    for name in before.keys() - after.keys():
        gone.setdefault(before[name][1], []).append(name)
    gone.pop(None, None)  # unknown pixels are equal to none
    new = after.keys() - before.keys()
    pairs = [(gone[after[name][1]].pop(), name) for name in new if gone.get(after[name][1])]
    return pairs, len(new) - len(pairs), len(before.keys() - after.keys()) - len(pairs)


def trained_on(
    stored: Fingerprint | Sequence[Fingerprint], present: Fingerprint, split: str = "test"
) -> int | None:
    """How many examples of a split have the pixels of a stored "train" or "unlabeled" example.

    Of several stored sets, of any of them, an example that is in two counting once. None where it
    cannot be told: rendered examples, and sets whose pixels were not read.
    """
    trained: set[bytes] = set()
    for whole in [stored] if isinstance(stored, dict) else stored:
        for name in whole["splits"].keys() & {"train", "unlabeled"}:
            contents = _parts(whole["splits"][name])[2]
            if contents is None:
                return None
            trained |= set(contents)
    contents = _parts(present["splits"].get(split, {}))[2]
    if contents is None or not trained:
        return None
    return sum(content in trained for content in contents)


def _split(split: Split, *, listed: bool, pixels: bool) -> Fingerprint:
    names = [_digest(name.encode()) for name in names_of(split, np.arange(split.size))]
    labels = None if split.labels is None else np.asarray(split.labels, "<i4")
    contents = _contents(split) if pixels else None
    marks: Fingerprint = {
        "count": split.size,
        "names": _together(names),
        "labels": None,
        "contents": None,
    }
    if labels is not None:
        pairs = zip(names, labels, strict=True)
        marks["labels"] = _together([name + label.tobytes() for name, label in pairs])
    if contents is not None:
        pairs = zip(names, contents, strict=True)
        marks["contents"] = _together([name + content for name, content in pairs])
    if not isinstance(split.pool, Mapping):
        marks["factors"] = {
            factor: _factor(names, values) for factor, values in sorted(split.factors.items())
        }
    if listed:
        marks["examples"] = {
            "names": _packed(b"".join(names)),
            "labels": None if labels is None else _packed(labels.tobytes()),
            "contents": None if contents is None else _packed(b"".join(contents)),
        }
    return marks


def _contents(split: Split) -> list[bytes] | None:
    if isinstance(split.pool, Mapping):  # rendered: nothing is stored
        return None
    digests: list[bytes] = []
    for start in range(0, split.size, _CHUNK):
        rows: Int[np.ndarray, " b"] = np.arange(start, min(start + _CHUNK, split.size))
        load = split.load
        chunk = np.asarray(split.pool[rows[0] : rows[-1] + 1]) if load is None else load(rows)
        digests += [_digest(np.ascontiguousarray(example).tobytes()) for example in chunk]
    return digests


def _factor(names: list[bytes], values: Float[np.ndarray, "n ..."]) -> str:
    rows = np.asarray(values, "<f4").reshape(len(names), -1) + 0  # -0 is 0
    return _together([name + row.tobytes() for name, row in zip(names, rows, strict=True)])


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=6).digest()


def _together(parts: list[bytes]) -> str:
    """One digest of several, whatever their order."""
    return hashlib.blake2b(b"".join(sorted(parts)), digest_size=16).hexdigest()


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def _parts(split: Fingerprint) -> tuple[list[bytes], list[int], list[bytes] | None]:
    """Names, labels and contents of the listed examples of a split; contents may be unknown."""
    listed = split.get("examples")
    if not listed:
        return [], [], None
    names = _cut(_unpacked(listed["names"]))
    labels = [_ABSENT] * len(names)
    if listed["labels"] is not None:
        labels = np.frombuffer(_unpacked(listed["labels"]), "<i4").tolist()
    contents = listed["contents"]
    return names, labels, None if contents is None else _cut(_unpacked(contents))


def _cut(content: bytes) -> list[bytes]:
    return [content[start : start + 6] for start in range(0, len(content), 6)]


def _examples(whole: Fingerprint) -> Examples | None:
    """(class, content, split) by name; None for a set whose examples are not listed.

    "unlabeled" repeats the training images, and comes last.
    """
    examples: Examples = {}
    classes = dict(enumerate(whole["classes"]))  # one more class moves the numbers of others
    for split in sorted(whole["splits"], key=lambda name: (*_ORDER, name).index(name)):
        content = whole["splits"][split]
        if "examples" not in content:
            return None
        names, labels, contents = _parts(content)
        for number, name in enumerate(names):
            pixels = None if contents is None else contents[number]
            label = labels[number]
            examples.setdefault(name, (classes.get(label, label), pixels, split))
    return examples


def _whole(whole: Fingerprint) -> Fingerprint:
    """What two fingerprints of equal data share, but for factors; examples may be in any order."""
    splits = {
        name: {key: value for key, value in split.items() if key not in ("examples", "factors")}
        for name, split in whole["splits"].items()
    }
    return {"classes": whole["classes"], "splits": splits}


def _other_factors(stored: Fingerprint, present: Fingerprint) -> list[str]:
    """Of each split which factors differ; a fingerprint of an older version has none to compare."""
    reasons = []
    for name in sorted(stored["splits"].keys() & present["splits"].keys()):
        before, after = (fingerprint["splits"][name] for fingerprint in (stored, present))
        if before["names"] != after["names"] or not {"factors"} <= before.keys() & after.keys():
            continue
        old, new = before["factors"], after["factors"]
        differing = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        reasons += [f"{name} has other factors: {', '.join(differing)}"] if differing else []
    return reasons


def _by_split(stored: Fingerprint, present: Fingerprint) -> list[str]:
    reasons = []
    for name in sorted({*stored["splits"], *present["splits"]}):
        before, after = (fingerprint["splits"].get(name) for fingerprint in (stored, present))
        if before is None or after is None:
            reasons.append(f"the split {name} is {'new' if before is None else 'gone'}")
        elif before["count"] != after["count"]:
            reasons.append(f"{name} had {before['count']:,} images and has {after['count']:,}")
        else:
            keys = ("names", "labels", "contents")
            unequal = [key for key in keys if before[key] != after[key]]
            reasons += [f"{name} has other {' and '.join(unequal)}"] if unequal else []
    return reasons


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _few(names: list[str]) -> str:
    text = ", ".join(names[:5]) or "unknown"
    return text if len(names) <= 5 else f"{text}, … ({len(names)})"
