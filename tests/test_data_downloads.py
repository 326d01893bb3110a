"""Sets from their publishers and from Hugging Face, with stand-ins on a server of this machine."""

import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import data
from eqssl_jax.data import download, publishers
from eqssl_jax.data.download import Published, fetch
from eqssl_jax.data.named import named


@pytest.fixture
def server(monkeypatch):
    """Files by name; what was asked for; and after how many bytes an answer breaks off."""
    monkeypatch.setattr(download, "PAUSE", 0.0)
    seen = SimpleNamespace(files={}, asked=[], breaks=None, ranges=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = seen.files.get(self.path.strip("/"))
            if content is None:
                self.send_error(404)
                return
            wanted = self.headers.get("Range") if seen.ranges else None
            seen.asked.append(self.headers.get("Range"))
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            breaks = seen.breaks(len(seen.asked)) if callable(seen.breaks) else seen.breaks
            self.wfile.write(content[start:][:breaks])

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        seen.url = f"http://127.0.0.1:{http.server_port}"
        yield seen
        http.shutdown()


def published(server, name, content):
    server.files[name] = content
    digest = hashlib.sha256(content).hexdigest()
    return Published(f"{server.url}/{name}", len(content), digest)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on(server, tmp_path, ranges):
    content = bytes(range(256)) * 40
    file = published(server, "a.bin", content)
    server.ranges = ranges
    (tmp_path / "a.bin.part").write_bytes(content[:1000])  # of a process that was killed
    if ranges:
        server.breaks = 4000
    assert fetch(file, tmp_path).read_bytes() == content
    assert server.asked[0] == "bytes=1000-" and len(server.asked) == (3 if ranges else 1)
    fetch(file, tmp_path)
    assert len(server.asked) == (3 if ranges else 1)  # it is there
    assert not (tmp_path / "a.bin.part").exists()


def test_a_wrong_checksum_and_no_answer_are_one_paragraph(server, tmp_path):
    file = published(server, "a.bin", b"right" * 9)
    server.files["a.bin"] = b"wrong" * 9
    with pytest.raises(ValueError, match=r"is not the file that was published: its SHA-256 is"):
        fetch(file, tmp_path)
    assert not (tmp_path / "a.bin").exists() and (tmp_path / "a.bin.wrong").exists()
    server.files["a.bin"] = b"right" * 9
    assert fetch(file, tmp_path).read_bytes() == b"right" * 9
    with pytest.raises(OSError, match=r"answers 404 Not Found: check the network and start"):
        fetch(published(server, "b.bin", b"b")._replace(url=f"{server.url}/c.bin"), tmp_path)
    server.breaks = 0
    with pytest.raises(OSError, match=r"0 of 1 bytes are there"):
        fetch(published(server, "d.bin", b"d"), tmp_path)
    (tmp_path / "f.bin.part").mkdir()
    with pytest.raises(OSError, match=r"f\.bin\.part cannot be written \(.*Is a directory"):
        fetch(published(server, "f.bin", b"f" * 5000), tmp_path)
    closed = Published("http://127.0.0.1:9/e.bin", 1, "")
    with pytest.raises(OSError, match=r"could not be downloaded \(.*refused.*--mirror"):
        fetch(closed, tmp_path)


def test_a_server_that_always_begins_anew_and_breaks_off_is_given_up(server, tmp_path, monkeypatch):
    """What is there never shrinks, so that breaking off now here, now there is no progress."""
    pauses: list[float] = []

    def pause(seconds):
        pauses.append(seconds)
        assert len(pauses) < 50, "it never gives up"

    monkeypatch.setattr(download.time, "sleep", pause)
    content = bytes(range(256)) * 40
    server.ranges, server.breaks = False, lambda count: 3000 + 1000 * (count % 2)
    with pytest.raises(OSError, match=r"could not be downloaded .*; 4,000 of 10,240 bytes are"):
        fetch(published(server, "a.bin", content), tmp_path)
    assert len(server.asked) == 1 + download.ATTEMPTS == 1 + len(pauses)
    server.breaks = lambda count: 5000 * count
    server.asked.clear()
    assert fetch(published(server, "a.bin", content), tmp_path).read_bytes() == content


@pytest.mark.parametrize(
    "mirror", ["foo", "http://[", "http://", "ftp://a/b", "http://a:b", "h ://"]
)
def test_a_mirror_that_is_no_address_is_named(mirror, tmp_path):
    with pytest.raises(ValueError, match=r"--mirror=.* is no address of files: give one that"):
        publishers.prepare("cifar10", tmp_path / "out", mirror=mirror)
    assert not (tmp_path / "out").exists()


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def stand_in(server, name, contents):
    """The set `name` whose files are these."""
    files = tuple(published(server, file, content) for file, content in contents.items())
    return {name: publishers.SETS[name]._replace(files=files)}


def pixels(count, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def planes(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def test_cifar_becomes_arrays(server, tmp_path):
    images, labels = pixels(25, 32), np.arange(25) % 3
    records = np.concatenate([labels[:, None].astype(np.uint8), planes(images)], axis=1)
    parts = {f"c/data_batch_{i + 1}.bin": records[4 * i : 4 * i + 4].tobytes() for i in range(5)}
    parts |= {"c/test_batch.bin": records[20:].tobytes(), "c/batches.meta.txt": b"a\nb\nc\n"}
    sets = stand_in(server, "cifar10", {"cifar-10-binary.tar.gz": archive(parts)})
    place = publishers.prepare("cifar10", tmp_path, sets=sets)
    dataset = data.load(name="arrays", directory=place, validation=0.1)
    assert dataset.classes == ("a", "b", "c") and dataset.splits["test"].size == 5
    np.testing.assert_array_equal(np.load(place)["train_images"], images[:20])
    np.testing.assert_array_equal(np.load(place)["test_labels"], labels[20:])
    requests = len(server.asked)
    assert publishers.prepare("cifar10", tmp_path, sets=sets) == place
    assert len(server.asked) == requests
    place.write_bytes(b"")  # of a disk that was full: nothing is finished
    np.testing.assert_array_equal(
        np.load(publishers.prepare("cifar10", tmp_path, sets=sets))["test_labels"], labels[20:]
    )
    place.write_bytes(place.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"cifar10\.npz is in the way: an \.npz file is written"):
        publishers.prepare("cifar10", tmp_path, sets=sets)
    fine = np.concatenate([np.full((25, 1), 7, np.uint8), records], axis=1)  # coarse label first
    parts = {"train.bin": fine[:20].tobytes(), "test.bin": fine[20:].tobytes(),
             "fine_label_names.txt": b"a\nb\nc"}  # fmt: skip
    sets = stand_in(server, "cifar100", {"cifar-100-binary.tar.gz": archive(parts)})
    place = publishers.prepare("cifar100", tmp_path, sets=sets)
    np.testing.assert_array_equal(np.load(place)["train_labels"], labels[:20])
    sets = stand_in(server, "cifar100", {"x.tar.gz": archive({"train.bin": b""})})
    with pytest.raises(ValueError, match=r"The files of cifar100 do not hold .*lacks fine_label"):
        publishers.prepare("cifar100", tmp_path / "other", sets=sets)
    with pytest.raises(ValueError, match="'cifar' cannot be prepared: choose one of cifar10, "):
        publishers.prepare("cifar", tmp_path)


def test_stl10_becomes_arrays_with_unlabelled_images(server, tmp_path):
    images = pixels(8, 96)
    columns = images.transpose(0, 3, 2, 1)
    parts = {"train_X.bin": columns[:4], "test_X.bin": columns[4:6], "unlabeled_X.bin": columns[6:],
             "train_y.bin": np.uint8([1, 2, 1, 2]), "test_y.bin": np.uint8([2, 1])}  # fmt: skip
    contents = {f"stl10_binary/{name}": value.tobytes() for name, value in parts.items()}
    contents["stl10_binary/class_names.txt"] = b"plane\nbird\n"
    sets = stand_in(server, "stl10", {"stl10_binary.tar.gz": archive(contents)})
    place = publishers.prepare("stl10", tmp_path, sets=sets)
    with np.load(place) as arrays:
        np.testing.assert_array_equal(arrays["train_images"], images[:4])
        assert arrays["test_labels"].tolist() == [1, 0] and len(arrays["unlabeled_images"]) == 2
    assert data.load(name="arrays", directory=place, validation=0.0).splits["unlabeled"].size == 6


def jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def test_flowers_become_a_folder(server, tmp_path):
    from scipy.io import savemat

    contents, labels = {}, np.array([1, 2] * 4)
    for name, values in {
        "setid.mat": {"trnid": [[1, 2]], "valid": [[3, 4]], "tstid": [[5, 6, 7, 8]]},
        "imagelabels.mat": {"labels": labels[None]},
    }.items():
        buffer = io.BytesIO()
        savemat(buffer, values)
        contents[name] = buffer.getvalue()
    pictures = {f"jpg/image_{i + 1:05d}.jpg": jpeg(x) for i, x in enumerate(pixels(8, 9))}
    contents["102flowers.tgz"] = archive(pictures)
    sets = stand_in(server, "flowers102", contents)
    sets["flowers102"] = sets["flowers102"]._replace(images=8)
    (tmp_path / "flowers102").mkdir()  # an empty folder is not the set
    place = publishers.prepare("flowers102", tmp_path, sets=sets)
    dataset = data.load(name="folder", directory=place, validation=0.0)
    assert dataset.classes == ("001", "002") and dataset.splits["train"].size == 4
    assert sorted(path.name for path in place.glob("test/001/*")) == [
        "image_00005.jpg", "image_00007.jpg",
    ]  # fmt: skip
    assert publishers.prepare("flowers102", tmp_path, sets=sets) == place
    (tmp_path / "other" / "flowers102" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"flowers102 is in the way: a folder of 8 images is"):
        publishers.prepare("flowers102", tmp_path / "other", sets=sets)
    next(place.glob("train/*/*.jpg")).unlink()  # as a copy that broke off
    with pytest.raises(ValueError, match=r"something else or broken \(7 images\)"):
        publishers.prepare("flowers102", tmp_path, sets=sets)


def table(path, rows, image="image", label="label", names=("cat", "dog")):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    images = [{"bytes": jpeg(x), "path": f"{i}.png"} for i, x in enumerate(pixels(rows, 8))]
    made = pa.table({image: images, label: [i % 2 for i in range(rows)]})
    about = {"info": {"features": {label: {"names": list(names), "_type": "ClassLabel"}}}}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(made.replace_schema_metadata({"huggingface": json.dumps(about)}), path)


def test_parquet_of_hugging_face_is_read(tmp_path, monkeypatch):
    table(tmp_path / "data" / "train-00000-of-00002.parquet", 12, "img", "fine_label")
    table(tmp_path / "data" / "train-00001-of-00002.parquet", 8, "img", "fine_label")
    table(tmp_path / "data" / "test-00000-of-00001.parquet", 4, "img", "fine_label")
    dataset = data.load(name=f"hf:{tmp_path}", validation=0.1)
    assert dataset.classes == ("cat", "dog")
    assert {name: split.size for name, split in dataset.splits.items()} == {
        "train": 18, "validation": 2, "test": 4,
    }  # fmt: skip
    test = dataset.splits["test"]
    images = test.read(test.pool, np.arange(4))
    np.testing.assert_allclose(images, pixels(4, 8) / np.float32(255), rtol=1e-6)
    import huggingface_hub

    called = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *a, **k: called.update(a=a, **k) or tmp_path
    )
    assert data.load(name="hf:owner/name", validation=0.1).splits["test"].size == 4
    assert called["a"] == ("owner/name",) and called["repo_type"] == "dataset"
    assert named("hf:owner/name") == ("hf:owner/name", None)
    assert named("fruits360@~/fruits") == ("fruits360", "~/fruits")


def test_configurations_of_a_set_are_not_mixed(tmp_path, monkeypatch):
    import huggingface_hub

    for name in ("full", "small/train"):  # the split is in the file's name, or its folder's
        table(tmp_path / name / ("0.parquet" if "/" in name else "train-0.parquet"), 4)
    with pytest.raises(ValueError, match=r"configurations with a split train: full, small\. Name"):
        data.load(name=f"hf:{tmp_path}")
    assert data.load(name=f"hf:{tmp_path}/small", validation=0.0).splits["train"].size == 4
    called = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *a, **k: called.update(a=a, **k) or tmp_path
    )
    assert data.load(name="hf:owner/name/full", validation=0.0).splits["train"].size == 4
    assert called["a"] == ("owner/name",) and called["allow_patterns"] == "full/*.parquet"
    for empty in ("hf:", "hf: ", "hf:/"):
        with pytest.raises(ValueError, match=r"names no set: give hf:OWNER/NAME"):
            data.load(name=empty)


def test_parquet_without_images_and_a_hub_that_cannot_be_reached(tmp_path, monkeypatch):
    import huggingface_hub
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "train-0.parquet")
    with pytest.raises(
        ValueError, match=r"has no column of encoded images: it has text \(string\)"
    ):
        data.load(name=f"hf:{tmp_path}")
    images = [{"bytes": jpeg(x)} for x in pixels(2, 8)]
    for labels, message in (
        (["a", "b"], r"\(column label\) have strings where integers are needed"),
        ([0, None], r"\(column label\) have 1 empty cells where integers"),
        ([], r"has no rows of the split train, only columns"),
    ):
        rows = pa.table({"image": images, "label": [0, 1]})[: len(labels)]
        rows = rows.set_column(1, "label", pa.array(labels, None if labels else pa.int64()))
        parquet.write_table(rows, tmp_path / "train-0.parquet")
        with pytest.raises(ValueError, match=message):
            data.load(name=f"hf:{tmp_path}")
    (tmp_path / "train-0.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"train-0\.parquet cannot be read as parquet"):
        data.load(name=f"hf:{tmp_path}")
    (tmp_path / "train-0.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="has no parquet file of a split train"):
        data.load(name=f"hf:{tmp_path}")

    def unreachable(*args, **settings):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(OSError, match=r"could not be downloaded \(ConnectionError: no network\)"):
        data.load(name="hf:owner/name")
