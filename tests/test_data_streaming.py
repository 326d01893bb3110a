"""Streaming: the step alone says what is read; errors in place; nothing left behind."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pytest
import tiny_tfds

from eqssl_jax import data
from eqssl_jax.data import assemble, pipeline, streaming

BATCH, STEPS = 8, 9  # 24 training images: three epochs


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    root = tmp_path_factory.mktemp("stream")
    records = {
        split: [(tiny_tfds.encode(pixels), label) for pixels, label in tiny_tfds.photos(n, n)]
        for split, n in {"train": 24, "test": 4}.items()
    }
    tiny_tfds.write(root / "tiny", records)
    for split, items in records.items():
        for number, (content, label) in enumerate(items):
            folder = root / "folder" / split / tiny_tfds.CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:02}.png").write_bytes(content)
    with zipfile.ZipFile(root / "set.zip", "w") as archive:
        for file in sorted((root / "folder").rglob("*.png")):
            archive.write(file, file.relative_to(root / "folder"))
    return root


def load(directory: Path, source: str) -> data.Split:
    name, where = {
        "folder": ("folder", "folder"),
        "zip": ("folder", "set.zip"),
        "ArrayRecord": ("tiny_photos", "tiny"),
    }[source]
    dataset = data.load(name=name, directory=directory / where, validation=0.0, on_device=False)
    return dataset.splits["train"]


def rows_of(size: int, process: int = 0, processes: int = 1):
    share = BATCH // processes
    share_of_process = slice(process * share, (process + 1) * share)

    def rows(step: int) -> np.ndarray:
        return data.batch_indices(5, step, size, BATCH)[share_of_process]

    return rows


def numbered(size: int = 100, read=lambda indices: None) -> data.Split:
    """Images of one pixel, their number; `read` is called with the indices of every load."""

    def load(indices):
        read(indices)
        return np.asarray(indices, np.uint8)[:, None, None, None]

    return data.streamed(load, size=size)


def first_pixels(step: int) -> np.ndarray:
    return np.array([step])


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if "grain" in t.name]


def gone(remaining, seconds: float = 5.0) -> bool:
    """Whether `remaining()` becomes empty or false."""
    end = time.monotonic() + seconds
    while remaining() and time.monotonic() < end:
        time.sleep(0.01)
    return not remaining()


@pytest.mark.parametrize("source", ["folder", "zip", "ArrayRecord"])
def test_batches_are_the_same_on_any_number_of_processes_and_from_any_step(directory, source):
    split = load(directory, source)
    whole = rows_of(split.size)
    expected = np.stack([split.load(whole(step)) for step in range(STEPS)])
    assert len({batch.tobytes() for batch in expected}) == STEPS
    for processes, start in itertools.product((1, 2, 4), (0, 4)):
        parts = [
            list(data.stream(split, rows_of(split.size, p, processes), start=start, stop=STEPS))
            for p in range(processes)
        ]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected[start:])


@pytest.mark.parametrize("source", ["folder", "zip", "ArrayRecord"])
def test_every_source_travels_to_a_worker(directory, source):
    split = load(directory, source)
    there = cloudpickle.loads(cloudpickle.dumps(split.load))
    np.testing.assert_array_equal(there(np.arange(3)), split.load(np.arange(3)))


def damaged(directory: Path, tmp_path: Path, monkeypatch) -> data.Split:
    """The zip with a broken image, number 2."""
    # Measuring a small set reads all of it, and would find the image at once.
    monkeypatch.setitem(assemble._STATISTICS, "folder", ((0.5,) * 3, (0.2,) * 3))
    content = bytearray((directory / "set.zip").read_bytes())
    at = content.find(b"IDAT", content.find(b"train/bluish/05.png"))
    content[at + 6] ^= 255
    (tmp_path / "set.zip").write_bytes(bytes(content))
    return load(tmp_path, "zip")


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_come_in_their_place_and_name_the_record(directory, tmp_path, monkeypatch, workers):
    split = damaged(directory, tmp_path, monkeypatch)
    wanted = [np.array(pair) for pair in ([5, 4], [0, 1], [7, 3], [9, 9], [8, 2], [6, 5], [0, 0])]
    ahead = data.stream(
        split, wanted.__getitem__, start=1, stop=7, workers=workers, buffered=workers + 3
    )
    for step in (1, 2, 3):
        batch = next(ahead)
        assert type(batch) is np.ndarray
        np.testing.assert_array_equal(batch, split.load(wanted[step]))
    with pytest.raises(ValueError, match=r"set\.zip:train/bluish/05\.png is corrupt"):
        next(ahead)
    assert not multiprocessing.active_children() and gone(threads)


def test_a_worker_outlives_a_signal_but_not_its_run():
    """SIGTERM goes to all processes of a job: the run saves first, and ends its workers itself."""
    program = """
        import multiprocessing, os, signal, time
        import numpy as np
        from eqssl_jax import data

        def main():
            split = data.streamed(lambda indices: np.zeros((len(indices), 9), np.uint8), size=1000)
            ahead = data.stream(split, lambda step: np.array([step]), start=0, stop=1000, workers=1)
            next(ahead)
            worker, = multiprocessing.active_children()
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(worker.pid, number)
            for _ in range(20):
                next(ahead)
            print(worker.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

        if __name__ == "__main__":
            main()
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parent.parent,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert gone(lambda: _runs(int(process.stdout)))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_no_further_ahead_than_asked_for():
    read: list[int] = []
    split = numbered(
        read=lambda indices: (time.sleep(0.002 * (indices[0] % 3)), read.extend(indices))
    )
    ahead = data.stream(split, first_pixels, start=10, stop=30, buffered=3)
    for step, batch in zip(range(10, 30), ahead, strict=True):
        assert batch.item() == step  # in order, though later ones are often ready first
        if step in (10, 15):
            assert gone(lambda step=step: len(read) < step - 10 + 1 + 3)
            time.sleep(0.05)
        assert len(read) <= step - 10 + 1 + 3
    assert sorted(read) == list(range(10, 30))  # each once


def test_closing_drops_what_was_read_ahead_and_leaves_no_threads():
    read: list[int] = []
    ahead = data.stream(numbered(read=read.extend), first_pixels, start=0, stop=1000)
    next(ahead)
    assert threads()
    ahead.close()
    assert gone(threads) and len(read) <= 6
    with pytest.raises(StopIteration):
        next(ahead)
    for _ in zip(data.stream(numbered(), first_pixels, start=0, stop=1000), range(2), strict=False):
        pass  # a loop that is left closes too
    assert gone(threads)


def test_a_stream_may_be_empty():
    assert list(data.stream(numbered(), first_pixels, start=7, stop=7)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": pipeline.to_device(numbered(5))}, "lives on the device"),
        ({"workers": -1}, "workers of at least 0.*found -1"),
        ({"buffered": 0}, "buffered of at least 1.*and 0"),
        ({"start": 5}, "found 5 … 3"),
        ({"start": -1}, "found -1 … 3"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        data.stream(**{"split": numbered(), "rows": first_pixels, "start": 0, "stop": 3} | changes)


def test_workers_need_shared_memory(monkeypatch):
    monkeypatch.setattr(streaming.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    large = data.streamed(lambda indices: np.zeros((len(indices), 2**20), np.uint8), size=10)
    with pytest.raises(ValueError, match=r"need 6 MiB of /dev/shm, which has 1 MiB free"):
        data.stream(large, first_pixels, start=0, stop=10, workers=1)


def test_placing_ahead_keeps_order_and_errors_in_place():
    placed: list[int] = []

    def place(item: int) -> int:
        placed.append(item)
        if item == 4:
            raise ValueError("four")
        return -item

    results = data.place_ahead(range(9), place)
    for item in range(4):
        assert next(results) == -item
        assert placed == list(range(item + 2))
    with pytest.raises(ValueError, match="four"):
        next(results)
    assert list(data.place_ahead([], place)) == []
