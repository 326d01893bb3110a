"""Chains of Cα atoms in ångström: what they are, read from arrays, and generated."""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from eqssl_jax.data import arrays, checks

STEP = 3.8  # Å between consecutive Cα atoms of a chain with trans peptide bonds
_NEAR = 4.5  # Å: generated atoms avoid being closer than this to an earlier one
_FARTHEST = 1e6  # Å: no coordinate of a structure is as large
_PROPOSALS = 12  # directions tried for each step
_LENGTHS = (30, 150)  # residues of a generated chain


class Chain(NamedTuple):
    """One chain.

    Attributes:
      atoms: Cα positions in Å, in the order of the chain.
      complex: name of the complex it belongs to; chains of one complex stay in one split.
      sequence: one byte for each residue; empty when unknown.
    """

    atoms: Float[np.ndarray, "n 3"]
    complex: str
    sequence: bytes = b""


def read_npz(path: Path, *, corrupt: str = "error") -> tuple[list[Chain], int]:
    """The chains of an `.npz` file, and how many were left out because they are not finite.

    | key          | content                                                                      |
    |--------------|------------------------------------------------------------------------------|
    | `coords`     | float [A, 3], Å: the Cα atoms of all chains, one chain after the other       |
    | `offsets`    | integers [C + 1] from 0 to A: chain i is coords[offsets[i]:offsets[i + 1]]   |
    | `complex_id` | C names, optional: chains of one name stay in one split; without, each alone |
    | `residue`    | uint8 [A], optional: residue types, to find equal sequences                  |

    Raises:
      FileNotFoundError: without such a file.
      ValueError: for a file that is no `.npz`, missing keys, arrays that do not fit each other, and
        (corrupt="error") a chain with coordinates that are not finite, or beyond 10⁶ Å.
    """
    content = _content(path)
    coords, offsets = content["coords"], content["offsets"]
    count = len(offsets) - 1
    named = checks.texts(content.get("complex_id", np.zeros(0, str)), f"complex_id of {path}", True)
    residues = content.get("residue")
    chains = []
    for i, (start, stop) in enumerate(itertools.pairwise(offsets)):
        complex_name = named[i] if named else f"chain {i}"
        sequence = b"" if residues is None else residues[start:stop].tobytes()
        try:
            where = f"Chain {i} of {path} (complex {complex_name})"
            chains.append(Chain(positions(coords[start:stop], where), complex_name, sequence))
        except ValueError:
            if corrupt == "error":
                raise
    return chains, count - len(chains)


def positions(values: Any, where: str) -> Float[np.ndarray, "n 3"]:
    """Coordinates in Å, of whatever file: finite, and within 0.1 mm of the origin.

    Raises:
      ValueError: naming `where`, which `corrupt="skip"` leaves out.
    """
    advice = 'repair it, or leave such chains out with corrupt="skip" (config.data.corrupt)'
    try:
        atoms = checks.finite(values, "coordinates")
    except ValueError as error:
        raise ValueError(f"{where} has NaN or infinite coordinates ({error}): {advice}.") from error
    if np.abs(atoms).max() > _FARTHEST:
        raise ValueError(
            f"{where} has the coordinate {np.abs(atoms).max():.3g} Å, and {_FARTHEST:.0g} Å is "
            f"the most: {advice}."
        )
    return atoms


def _content(path: Path) -> dict[str, np.ndarray]:
    content = arrays.plain_arrays(path, "coords and offsets of protein chains")
    shapes = {key: value.shape for key, value in content.items()}
    if not {"coords", "offsets"} <= set(content):
        raise ValueError(f"{path} needs the arrays coords and offsets, found {shapes}.")
    coords, offsets = content["coords"], content["offsets"]
    if coords.ndim != 2 or coords.shape[1] != 3 or coords.dtype.kind != "f":
        raise ValueError(
            f"coords of {path} must be floats [A, 3] in Å, found {coords.shape} of {coords.dtype}."
        )
    _check_offsets(path, offsets, len(coords))
    lengths = {"complex_id": len(offsets) - 1, "residue": len(coords)}
    for key, length in lengths.items():
        if key in content and content[key].shape != (length,):
            raise ValueError(
                f"{key} of {path} must hold {length} values, one for each "
                f"{'chain' if key == 'complex_id' else 'atom'}, found shape {content[key].shape}."
            )
    return content


def _check_offsets(path: Path, offsets: Int[np.ndarray, " c"], atoms: int) -> None:
    fits = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    steps = np.diff(offsets.astype(np.int64)) if fits else np.zeros(0)
    if not fits or offsets[0] != 0 or offsets[-1] != atoms or (steps < 1).any():
        raise ValueError(
            f"offsets of {path} must be integers that rise from 0 to {atoms}, the number of atoms, "
            f"found {offsets.shape} of {offsets.dtype}: {offsets.ravel()[:3].tolist()} … "
            f"{offsets.ravel()[-2:].tolist()}."
        )


def generate(index: int, *, seed: int = 0) -> Chain:
    """Chain `index` of a seed: a compact walk of 3.8 Å steps, a pure function of (seed, index).

    Of 12 proposed directions, each the last one plus noise, a step takes the one of least cost: 1
    for each earlier atom closer than 4.5 Å (the chain avoids itself, but is not certain to), and
    the squared distance from the centre so far, in units of an ellipsoid of the chain's own:
    2.2 N^0.38 Å, the size of a folded protein of N residues, times log-normal factors along three
    random axes. It stands in for proteins where there are none; it is no model of them.

    >>> chain = generate(3)
    >>> np.allclose(np.linalg.norm(np.diff(chain.atoms, axis=0), axis=1), STEP, atol=1e-4)
    True
    """
    random = np.random.Generator(np.random.Philox(key=[seed, index]))
    low, high = np.log(_LENGTHS)
    count = round(float(np.exp(random.uniform(low, high))))
    axes = np.linalg.qr(random.normal(size=(3, 3)))[0]
    ellipsoid = axes / (2.2 * count**0.38 * np.exp(0.5 * random.normal(size=3)))
    noise = 0.6 * random.normal(size=(count, _PROPOSALS, 3))
    atoms, squares = np.zeros((count, 3)), np.zeros(count)
    direction, total = axes[0], np.zeros(3)
    for i in range(1, count):
        proposed = direction + noise[i]
        proposed /= np.sqrt(np.einsum("pc,pc->p", proposed, proposed))[:, None]
        ends = atoms[i - 1] + STEP * proposed  # [P, 3]
        length = np.einsum("pc,pc->p", ends, ends)
        apart = length[:, None] + squares[: i - 1] - 2 * ends @ atoms[: i - 1].T  # [P, i − 1]
        away = (ends - total / i) @ ellipsoid
        cost = np.count_nonzero(apart < _NEAR**2, axis=1) + np.einsum("pc,pc->p", away, away)
        best = int(np.argmin(cost))
        direction, atoms[i], squares[i] = proposed[best], ends[best], length[best]
        total += atoms[i]
    return Chain(atoms.astype(np.float32), f"generated {index}")
