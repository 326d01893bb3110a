"""What is stored for figures comes back, is small, and is never half written."""

import numpy as np
import pytest

from eqssl_jax.data.base import Split
from eqssl_jax.experiment import stored
from eqssl_jax.measures import Arrays, RotationStudy
from eqssl_jax.transforms.base import Transform

INVERT = Transform(lambda key: {}, lambda p, x: 1 - x, {})


def read(pool, inputs):
    return pool[inputs]


def study(images=5000, augmentations=20, dimensions=2):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1 + augmentations, images, dimensions))
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    cosines = np.einsum("nd,and->an", z[0], z[1:])
    measures = {"gamma": rng.uniform(size=augmentations), "effective_rank": np.array([1.5])}
    circle = z if dimensions == 2 else None
    return RotationStudy(measures, cosines, {}, cosines[: augmentations // 2], circle)


def arrays(**studies):
    queries = np.arange(8)
    near = np.stack([np.arange(q, q + 5) for q in queries])
    return Arrays(
        {name: of_encoder.cosines for name, of_encoder in studies.items()}, "test", {}, queries,
        {"trained": near}, {"trained": near[:, ::-1]}, study=studies,
    )  # fmt: skip


def test_what_is_written_comes_back_and_is_small(tmp_path):
    full = arrays(trained=study(), random=study(dimensions=8), pixels=study(dimensions=8))
    path = tmp_path / "7_arrays.npz"
    stored.write_arrays(path, stored.stored(full))
    arrays_read = stored.read_arrays(path)
    assert [p.name for p in tmp_path.iterdir()] == ["7_arrays.npz"]
    assert path.stat().st_size < 500_000
    some = stored.subset(5000, stored.IMAGES)
    for name, of_encoder in full.study.items():
        np.testing.assert_allclose(
            arrays_read[f"cosines/{name}"], of_encoder.cosines[:, some], atol=1e-3
        )
        assert arrays_read[f"positive_cosines/{name}"].shape == (10, 1000)
        np.testing.assert_array_equal(arrays_read[f"gamma/{name}"], of_encoder.measures["gamma"])
    np.testing.assert_allclose(
        arrays_read["circle/trained"], full.study["trained"].circle[:, some], atol=1e-3
    )
    assert "circle/random" not in arrays_read
    np.testing.assert_array_equal(arrays_read["after/trained"], full.after["trained"])


def test_pictures_are_those_of_the_indices():
    pool = np.random.default_rng(1).uniform(size=(20, 4, 4, 3)).astype(np.float32)
    split = Split(20, pool, read)
    arrays_read = stored.retrieved_pictures(arrays(trained=study(50)), split, split, INVERT)
    expected = np.rint(pool * 255).astype(np.uint8)
    np.testing.assert_array_equal(arrays_read["query_images"], expected[: stored.QUERIES])
    np.testing.assert_allclose(
        arrays_read["changed_images"], 255 - expected[: stored.QUERIES], atol=1
    )
    np.testing.assert_array_equal(arrays_read["before_images/trained"][3, 1], expected[4])
    np.testing.assert_array_equal(arrays_read["after_images/trained"][3, 0], expected[7])
    assert stored.retrieved_pictures(Arrays({}, "test", None, np.zeros(0, int), {}, {}), split,
                                     split, INVERT) == {}  # fmt: skip


def test_large_pictures_are_averaged():
    blocks = np.random.default_rng(2).uniform(size=(20, 50, 50, 3)).astype(np.float32)
    large = blocks.repeat(3, 1).repeat(3, 2)  # 150 pixels
    arrays_read = stored.retrieved_pictures(
        arrays(trained=study(50)), Split(20, large, read), Split(20, large, read), INVERT
    )
    expected = np.rint(blocks[: stored.QUERIES] * 255)
    np.testing.assert_allclose(arrays_read["query_images"], expected, atol=1)


def test_a_missing_or_damaged_file_is_named(tmp_path):
    path = tmp_path / "7_arrays.npz"
    with pytest.raises(FileNotFoundError, match="evaluate that step"):
        stored.read_arrays(path)
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ValueError, match="damaged"):
        stored.read_arrays(path)


def test_a_broken_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "7_arrays.npz"
    stored.write_arrays(path, {"a": np.ones(3)})

    def fails(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(stored.np, "savez_compressed", fails)
    with pytest.raises(OSError, match="disk full"):
        stored.write_arrays(path, {"a": np.zeros(3)})
    assert stored.read_arrays(path)["a"].tolist() == [1, 1, 1]


def test_only_runs_that_were_asked_the_same_are_shown_together():
    rng = np.random.default_rng(3)
    names = ("query_images", "changed_images", "before_images/trained", "after_images/trained")
    pictures = {name: rng.integers(0, 256, size=(2, 4)).astype(np.uint8) for name in names}
    other = pictures | {"after_images/trained": pictures["query_images"]}
    queries = stored.same_queries({"simclr": pictures, "care": other})
    assert queries["query"] is pictures["query_images"] and list(queries["before"]) == [
        "simclr",
        "care",
    ]
    assert queries["after"]["care"] is pictures["query_images"]
    with pytest.raises(ValueError, match="'care' was asked with other images than 'simclr'"):
        stored.same_queries(
            {"simclr": pictures, "care": other | {"query_images": pictures["query_images"] + 1}}
        )
    with pytest.raises(ValueError, match=r"retrieved pictures of \['care'\]"):
        stored.same_queries({"simclr": pictures, "care": {}})
    with pytest.raises(ValueError, match="any run"):
        stored.same_queries({})
