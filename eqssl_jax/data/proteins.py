"""Protein chains as point clouds: Cα atoms, centred, in nanometres, of one padded length.

An example is float32 [points, 4], each row x, y, z and a mask:

- A chain longer than `points` is thinned evenly: atoms round(i (N − 1) / (points − 1)) stay, the
  two ends among them. A shorter one is padded behind its end by rows that are exactly 0; mask is 1
  for atoms and 0 for padding.
- The mean of the atoms that stay is the origin, so a rotation about it is one about their centroid.
- Coordinates are divided by `scale`, 10 Å for all chains alike: nanometres. The radius of gyration
  of a protein of 200 residues is then 1.7, each coordinate of order 1. A constant keeps what size
  says, and gives a chain the same cloud in every data set. With `scale` 0 each cloud is divided by
  its own radius of gyration instead: size, an invariant that is easy to find, is then gone.

Splits hold whole groups, a fixed choice (`partition.carve`): test first, then validation of the
rest. A group is a complex together with all complexes that share a chain with it, by equal
coordinates or equal sequence (bound and unbound structures, and the same protein in two entries).
Similar sequences are not found.
"""

from collections import Counter
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from eqssl_jax.data import chains as source
from eqssl_jax.data import partition, structures
from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.data.chains import Chain

COMPLEX = "complex"  # the factor that numbers the groups


def load(
    *,
    directory: str | Path | None = None,
    seed: int = 0,
    validation: float = 0.1,
    corrupt: str = "error",
    points: int = 128,
    scale: float = 10.0,
    shortest: int = 10,
    test: float = 0.2,
    chains: int = 320,
) -> Dataset:
    """The splits train, validation and test; no classes, and the factor "complex": group numbers.

    Args:
      directory: an `.npz` file (`chains.read_npz`), or a folder of PDB and mmCIF files
        (`structures.read_folder`), or None: chains are generated (`chains.generate`), each a
        complex of its own.
      seed: of generated chains.
      validation: fraction of the chains that are not in test.
      corrupt: "error", or "skip" what cannot be read and count it in the notes.
      points: rows of an example.
      scale: Å that become 1; 0 for each cloud's own radius of gyration.
      shortest: chains of fewer Cα atoms are left out and counted.
      test: fraction of all chains.
      chains: how many are generated, without a directory.

    >>> data = load(chains=20, points=16)
    >>> {name: split.size for name, split in data.splits.items()}, data.image_shape
    ({'train': 14, 'test': 4, 'validation': 2}, (16, 4))

    Raises:
      FileNotFoundError: if there is no such file or folder, or nothing in it.
      ValueError: for data that cannot be read, or too little of it.
    """
    sources, left_out = _read(directory, seed, corrupt, chains)
    long = [chain for chain in sources if len(chain.atoms) >= shortest]
    group = groups(long)
    total = len(np.unique(group))
    if total < 3:
        raise ValueError(
            f"{directory or 'proteins'} has {len(long)} chains of at least {shortest} Cα atoms in "
            f"{total} groups of complexes, and train, validation and test need one each: add "
            f"structures, or lower config.data.options.shortest."
        )
    clouds = np.stack([cloud(chain.atoms, points=points, scale=scale) for chain in long])
    split = Split(
        len(clouds),
        jnp.asarray(clouds),
        read,
        factors={COMPLEX: group.astype(np.float32)},
        names=lambda indices: [f"chain {index} of {long[index].complex}" for index in indices],
    )
    more = "" if directory else "config.data.options.chains"
    train, held = partition.carve(
        split, test, COMPLEX, setting="config.data.options.test", more=more
    )
    splits = {"train": train, "test": held}
    splits = partition.with_validation(splits, validation, COMPLEX, more=more)
    notes = [f"{len(long)} chains of {len({c.complex for c in long})} complexes in {total} groups"]
    left_out[f"chains shorter than {shortest}"] = len(sources) - len(long)
    # Mean 0 and deviation 1: scaling by the network would turn padding into points, and scaling
    # each coordinate by its own deviation would not commute with rotations.
    shape, left = (points, 4), {reason: count for reason, count in left_out.items() if count}
    return Dataset(
        "proteins", shape, (), (0.0,) * 4, (1.0,) * 4, splits, "; ".join(notes), left
    )  # fmt: skip


def cloud(
    atoms: Float[np.ndarray, "n 3"], *, points: int, scale: float
) -> Float[np.ndarray, "p 4"]:
    """One chain thinned or padded to [points, 4], centred, divided by `scale`; see the module.

    >>> cloud(np.array([[0.0, 0, 0], [2, 0, 0]]), points=3, scale=1.0).tolist()
    [[-1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    if len(atoms) > points:
        atoms = atoms[np.round(np.linspace(0, len(atoms) - 1, points)).astype(int)]
    kept = atoms.astype(np.float64)
    kept -= kept.mean(axis=0)
    radius = np.sqrt(np.mean(np.sum(kept**2, axis=1)))
    points_of = np.zeros((points, 4), np.float32)
    # Equal atoms have no radius: they stay at the origin.
    points_of[: len(kept), :3] = kept / (scale or max(radius, 1e-6))
    points_of[: len(kept), 3] = 1
    return points_of


def read(pool: Float[Array, "n p 4"], indices: Int[Array, " b"]) -> Float[Array, "b p 4"]:
    """Clouds by index, as they are stored."""
    return pool[indices]


def groups(chains: list[Chain]) -> Int[np.ndarray, " c"]:
    """Number of each chain's group, from 0; complexes with an equal chain are in one group.

    Two chains are equal if their coordinates are, or their sequences (where known).
    """
    parent = {chain.complex: chain.complex for chain in chains}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    first: dict[tuple[str, bytes], str] = {}
    for chain in chains:
        for kind, content in (("atoms", chain.atoms.tobytes()), ("sequence", chain.sequence)):
            if content:
                owner = first.setdefault((kind, content), chain.complex)
                # The lesser name leads, so that numbers do not depend on the order of the chains.
                low, high = sorted((root(owner), root(chain.complex)))
                parent[high] = low
    return np.unique([root(chain.complex) for chain in chains], return_inverse=True)[1]


def _read(
    directory: str | Path | None, seed: int, corrupt: str, count: int
) -> tuple[list[Chain], Counter[str]]:
    if directory is None:
        return [source.generate(i, seed=seed) for i in range(count)], Counter()
    path = Path(directory)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}: proteins are read from an .npz file of Cα coordinates or a "
            f"folder of PDB and mmCIF files, or generated without a directory."
        )
    if path.is_dir():
        return structures.read_folder(path, corrupt=corrupt)
    if not path.is_file():
        raise ValueError(f"{path} is no folder or file of data: expected {structures.EXPECTED}.")
    loaded, skipped = source.read_npz(path, corrupt=corrupt)
    return loaded, Counter({"chains with coordinates that are not finite": skipped})
