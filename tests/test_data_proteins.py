"""Protein chains: what a cloud is, where chains come from, and that no complex is in two splits."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from eqssl_jax import data
from eqssl_jax.data import chains, proteins, structures
from eqssl_jax.data.chains import Chain

REAL = Path(__file__).parent.parent.parent / "shared/data/proteins/proteins_ca.npz"


def walk(count: int, seed: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(size=(count, 3)), 0).astype(np.float32)


def write_npz(path: Path, **changes) -> Path:
    """Twelve chains of 12 to 23 atoms; chains 2k and 2k + 1 are complex k."""
    atoms = [walk(12 + i, i) for i in range(12)]
    arrays = {
        "coords": np.concatenate(atoms),
        "offsets": np.cumsum([0, *map(len, atoms)]),
        "complex_id": np.array([f"c{i // 2}" for i in range(12)]),
    }
    np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
    return path


def clouds(split: data.Split) -> np.ndarray:
    return np.asarray(split.read(split.pool, np.arange(split.size)))


def test_a_cloud_is_centred_scaled_thinned_and_padded():
    atoms = walk(20, 0) + 5
    short = proteins.cloud(atoms, points=32, scale=10.0)
    assert short.shape == (32, 4) and short.dtype == np.float32
    np.testing.assert_allclose(short[:20, :3], (atoms - atoms.mean(0)) / 10, atol=1e-6)
    assert (short[:20, 3] == 1).all() and (short[20:] == 0).all()
    thin = proteins.cloud(atoms, points=5, scale=10.0)
    kept = atoms[[0, 5, 10, 14, 19]]  # round(i · 19 / 4), half to even
    np.testing.assert_allclose(thin[:, :3], (kept - kept.mean(0)) / 10, atol=1e-6)
    assert (thin[:, 3] == 1).all()


def test_with_scale_0_a_cloud_has_radius_1_whatever_its_size():
    for factor in (1.0, 7.0):
        points = proteins.cloud(walk(20, 0) * factor, points=32, scale=0.0)[:20, :3]
        assert np.sqrt((points.astype(float) ** 2).sum(1).mean()) == pytest.approx(1, abs=1e-6)
    assert not proteins.cloud(np.ones((5, 3), np.float32), points=6, scale=0.0)[:, :3].any()


def test_an_npz_file_is_split_by_complex(tmp_path):
    dataset = data.load(
        name="proteins",
        directory=write_npz(tmp_path / "p.npz"),
        points=16,
        validation=0.2,
        test=0.3,
    )
    assert dataset.image_shape == (16, 4) and dataset.clouds and dataset.classes == ()
    numbers = {name: set(split.factors["complex"]) for name, split in dataset.splits.items()}
    assert set(numbers) == {"train", "validation", "test"}
    assert sum(map(len, numbers.values())) == len(set().union(*numbers.values())) == 6
    assert sum(split.size for split in dataset.splits.values()) == 12
    # Every chain is in the split of its complex, and the numbers are those of the clouds.
    for split in dataset.splits.values():
        counts = np.unique(split.factors["complex"], return_counts=True)[1]
        assert (counts == 2).all()
    rows = np.concatenate([clouds(split) for split in dataset.splits.values()])
    lengths = sorted(int(n) for n in rows[..., 3].sum(1))
    assert lengths == [12, 13, 14, 15] + [16] * 8
    again = data.load(
        name="proteins", directory=tmp_path / "p.npz", points=16, validation=0.2, test=0.3
    )
    np.testing.assert_array_equal(clouds(again.splits["test"]), clouds(dataset.splits["test"]))


def test_complexes_that_share_a_chain_stay_together():
    a, b, c = (walk(12, i) for i in range(3))
    cases = [
        Chain(a, "one"), Chain(a + 0, "two"),  # equal coordinates
        Chain(b, "two", b"AC"), Chain(c, "three", b"AC"),  # equal sequence
        Chain(walk(12, 9), "four", b"AD"),
    ]  # fmt: skip
    for order in (cases, cases[::-1]):
        number = dict(zip([x.complex for x in order], proteins.groups(order), strict=True))
        assert number["one"] == number["two"] == number["three"] != number["four"]


def test_generated_chains_are_a_function_of_seed_and_index():
    first, same = chains.generate(5, seed=1), chains.generate(5, seed=1)
    np.testing.assert_array_equal(first.atoms, same.atoms)
    for other in (chains.generate(6, seed=1), chains.generate(5, seed=2)):
        assert other.atoms.shape != first.atoms.shape or (other.atoms != first.atoms).any()
    for index in range(6):
        atoms = chains.generate(index).atoms.astype(float)
        np.testing.assert_allclose(np.linalg.norm(np.diff(atoms, axis=0), axis=1), 3.8, atol=1e-3)
        spread = np.sqrt(((atoms - atoms.mean(0)) ** 2).sum(1).mean())
        assert spread < 2 * 2.2 * len(atoms) ** 0.38  # a random walk of 150 steps has 19 Å


def test_without_a_directory_chains_are_generated():
    dataset = data.load(name="proteins", chains=12, points=20, validation=0.2)
    assert {name: split.size for name, split in dataset.splits.items()} == {
        "train": 8, "test": 2, "validation": 2,
    }  # fmt: skip
    other = data.load(name="proteins", chains=12, points=20, validation=0.2, seed=1)
    assert (clouds(other.splits["test"]) != clouds(dataset.splits["test"])).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offsets": None}, "needs the arrays coords and offsets"),
        ({"coords": np.zeros((210, 2), np.float32)}, r"floats \[A, 3\]"),
        ({"offsets": np.array([0, 5, 5, 210])}, "rise from 0 to 210"),
        ({"offsets": np.array([0, 100])}, "rise from 0 to 210"),
        ({"complex_id": np.array(["a"])}, "12 values, one for each chain"),
        ({"residue": np.zeros(3, np.uint8)}, "210 values, one for each atom"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        data.load(name="proteins", directory=write_npz(tmp_path / "p.npz", **changes))


def test_broken_chains_are_named_or_skipped(tmp_path):
    broken = np.concatenate([walk(12 + i, i) for i in range(12)])
    broken[3] = np.nan
    path = write_npz(tmp_path / "p.npz", coords=broken)
    with pytest.raises(ValueError, match=r"Chain 0 .* NaN"):
        data.load(name="proteins", directory=path)
    dataset = data.load(name="proteins", directory=path, corrupt="skip", validation=0.2)
    assert dataset.left_out["chains with coordinates that are not finite"] == 1
    assert sum(split.size for split in dataset.splits.values()) == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 2}, "points is 2; .* from 3"),
        ({"scale": -1.0}, "scale is -1.0"),
        ({"test": 1.0}, "test is 1.0; .* below 1"),
        ({"chains": 2}, "chains is 2; .* from 3"),
        ({"size": 32}, "no size"),
        ({"limit": 3}, "no limit"),
        ({"outlines": 3}, "no options"),
        ({"shortest": 151}, "0 chains of at least 151"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ValueError, match=message):
        data.load(name="proteins", **({"chains": 4} | options))


def test_files_that_are_not_there_or_no_arrays(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no"):
        data.load(name="proteins", directory=tmp_path / "absent.npz")
    with pytest.raises(FileNotFoundError, match="no structure"):
        data.load(name="proteins", directory=tmp_path)
    (tmp_path / "text.npz").write_text("no arrays")
    with pytest.raises(ValueError, match=r"cannot be read as an \.npz"):
        data.load(name="proteins", directory=tmp_path / "text.npz")


def atom(serial, name, residue, chain, number, xyz, *, record="ATOM", alt=" ", element="C"):
    """One line of a PDB file."""
    x, y, z = xyz
    return (
        f"{record:<6}{serial:>5} {name:<4}{alt}{residue:>3} {chain}{number:>4}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2}"
    )


def pdb(offset: float = 0.0) -> str:
    """Chain A: two alanines (the second in two locations), MSE, calcium, water; a second model."""
    first = [
        atom(1, " N  ", "ALA", "A", 1, (9, 9, 9), element="N"),
        atom(2, " CA ", "ALA", "A", 1, (offset, 0, 0)),
        atom(3, " CA ", "GLY", "A", 2, (1, 0, 0), alt="A"),
        atom(4, " CA ", "GLY", "A", 2, (7, 7, 7), alt="B"),
        atom(5, " CA ", "MSE", "A", 3, (2, 0, 0), record="HETATM"),
        atom(6, " CA ", "LIG", "A", 4, (3, 0, 0), record="HETATM"),
        atom(7, "CA  ", " CA", "A", 5, (4, 0, 0), record="HETATM", element="CA"),
        atom(8, " O  ", "HOH", "A", 6, (5, 0, 0), record="HETATM", element="O"),
        atom(9, " CA ", "SER", "B", 1, (0, 1, 0)),
    ]
    models = ["MODEL        1", *first, "ENDMDL", "MODEL        2", *first, "ENDMDL", "END"]
    return "\n".join(models) + "\n"


def test_of_a_pdb_file_the_alpha_carbons_of_the_first_model_are_read(tmp_path):
    pytest.importorskip("gemmi")
    (tmp_path / "1abc.pdb").write_text(pdb())
    a, b = structures.read_structure(tmp_path / "1abc.pdb", "1abc")
    np.testing.assert_array_equal(a.atoms, [[0, 0, 0], [1, 0, 0], [2, 0, 0]])
    assert a.sequence == b"AGM" and b.sequence == b"S"
    np.testing.assert_array_equal(b.atoms, [[0, 1, 0]])


def test_a_folder_of_pdb_and_mmcif_files(tmp_path):
    gemmi = pytest.importorskip("gemmi")
    (tmp_path / "one.pdb").write_text(pdb())
    (tmp_path / "both").mkdir()
    with gzip.open(tmp_path / "both" / "left.ent.gz", "wt") as file:
        file.write(pdb(0.5))
    structure = gemmi.read_pdb_string(pdb(0.25))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "both" / "right.cif"))
    (tmp_path / "readme.txt").write_text("no structure")
    chains_read, left_out = structures.read_folder(tmp_path)
    assert left_out == {"files ending in .txt": 1}
    assert [c.complex for c in chains_read] == ["both"] * 4 + ["one.pdb"] * 2
    assert [float(c.atoms[0, 0]) for c in chains_read] == [0.5, 0.0, 0.25, 0.0, 0.0, 0.0]
    assert [c.sequence for c in chains_read] == [b"AGM", b"S"] * 3


def test_files_without_alpha_carbons_are_named_or_skipped(tmp_path):
    pytest.importorskip("gemmi")
    water = atom(1, " O  ", "HOH", "A", 1, (5, 0, 0), record="HETATM", element="O")
    (tmp_path / "water.pdb").write_text(water + "\nEND\n")
    with pytest.raises(ValueError, match=r"water\.pdb has no Cα atom"):
        structures.read_folder(tmp_path)
    with pytest.raises(ValueError, match="None of the 1 structures"):
        structures.read_folder(tmp_path, corrupt="skip")
    (tmp_path / "broken.cif").write_text("data_x\nloop_\n_atom_site.id\n'unclosed\n")
    (tmp_path / "good.pdb").write_text(pdb())
    with pytest.raises(ValueError, match=r"broken\.cif cannot be read"):
        structures.read_folder(tmp_path)
    chains_read, left_out = structures.read_folder(tmp_path, corrupt="skip")
    assert len(chains_read) == 2 and left_out == {"unreadable structures": 2}


def test_real_chains_stay_with_their_complex():
    if not REAL.exists():
        pytest.skip(f"no {REAL.name} in shared/data/proteins")
    dataset = data.load(name="proteins", directory=REAL, points=16)
    assert dataset.notes.startswith("1629 chains of 371 complexes in 298 groups")
    numbers = [set(split.factors["complex"]) for split in dataset.splits.values()]
    assert sum(map(len, numbers)) == 298 == len(set().union(*numbers))
