"""Cα atoms of PDB and mmCIF files: the only file that imports gemmi, and only inside functions."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax.data.chains import Chain

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")


def read_folder(root: Path, *, corrupt: str = "error") -> tuple[list[Chain], int]:
    """The chains of all structures below a folder, and how many files were left out.

    Files end in .pdb, .ent, .cif or .mmcif, or one of these and .gz. Of each the first model is
    read, of each residue the first alternative location: ATOM records, and MSE (selenomethionine),
    which stands as HETATM in the place of a methionine. A file directly in the folder is a complex
    of its own; files of one sub-folder (the first below the root) are one complex.

    Raises:
      FileNotFoundError: if there is no such file.
      ImportError: without gemmi, with how to install it.
      ValueError: (corrupt="error") naming a file that cannot be read or has no Cα atom; with
        corrupt="skip" such files are counted, and it is an error if none is left.
    """
    files = _files(root)
    chains: list[Chain] = []
    skipped = 0
    for path in files:
        within = path.relative_to(root).parts
        try:
            chains += read_structure(path, within[0])
        except ValueError:
            if corrupt == "error":
                raise
            skipped += 1
    if not chains:
        raise ValueError(f"None of the {len(files)} structures in {root} has a Cα atom.")
    return chains, skipped


def read_structure(path: Path, complex_name: str) -> list[Chain]:
    """The chains of one file that have a Cα atom.

    Raises:
      ValueError: naming the file, if it cannot be read or has no Cα atom.
    """
    gemmi = _gemmi()
    try:
        structure = gemmi.read_structure(str(path))
    except Exception as error:  # gemmi raises RuntimeError, ValueError, OSError, …
        raise ValueError(
            f"{path} cannot be read as a PDB or mmCIF file ({error}): repair or remove it, or "
            f'leave such files out with corrupt="skip".'
        ) from error
    chains = []
    if len(structure):
        structure.remove_alternative_conformations()  # the first stays
        for chain in structure[0]:
            found = _alphas(gemmi, chain)
            if found:
                atoms, letters = zip(*found, strict=True)
                sequence = "".join(letters).encode()
                chains.append(Chain(np.array(atoms, np.float32), complex_name, sequence))
    if not chains:
        raise ValueError(
            f"{path} has no Cα atom in its first model: it holds no protein (or is no PDB or mmCIF "
            f'file); remove it, or leave such files out with corrupt="skip".'
        )
    return chains


def _alphas(gemmi: Any, chain: Any) -> list[tuple[list[float], str]]:
    """(position, one letter) of each Cα; one of calcium is none."""
    found = []
    for residue in chain:
        if residue.het_flag != "A" and residue.name != "MSE":
            continue
        atom = residue.find_atom("CA", "*", gemmi.Element("C"))
        if atom is not None:
            letter = gemmi.find_tabulated_residue(residue.name).one_letter_code.upper()
            found.append((atom.pos.tolist(), letter.strip() or "X"))
    return found


def _files(root: Path) -> list[Path]:
    every = (Path(at) / name for at, _, names in os.walk(root, followlinks=True) for name in names)
    files = sorted(p for p in every if p.name.lower().removesuffix(".gz").endswith(SUFFIXES))
    if not files:
        raise FileNotFoundError(
            f"There is no structure in {root}: expected files that end in {', '.join(SUFFIXES)} "
            f"(or these with .gz), or an .npz file of Cα coordinates."
        )
    return files


def _gemmi() -> Any:
    try:
        import gemmi
    except ImportError as error:
        raise ImportError(
            "Reading PDB and mmCIF files needs gemmi: pip install 'eqssl_jax[proteins]'."
        ) from error
    return gemmi
