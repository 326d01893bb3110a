"""Cα atoms of PDB and mmCIF files: the only file that imports gemmi, and only inside functions."""

import gzip
import io
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax.data.chains import Chain, positions
from eqssl_jax.data.listing import LARGEST, check_length, list_files, read_file

_NUMBER = re.compile(r" *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)? *")
SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
EXPECTED = (
    "a folder of files that end in .pdb, .ent, .cif or .mmcif (or these with .gz), or an .npz file "
    "of Cα coordinates"
)


def read_folder(root: Path, *, corrupt: str = "error") -> tuple[list[Chain], Counter[str]]:
    """The chains of all structures below a folder, and what was left out, by reason.

    Files end in .pdb, .ent, .cif or .mmcif, or one of these and .gz. Of each the first model is
    read, of each residue the first alternative location: ATOM records, and MSE (selenomethionine),
    which stands as HETATM in the place of a methionine. A file directly in the folder is a complex
    of its own; files of one sub-folder (the first below the root) are one complex.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: without gemmi, with how to install it; (corrupt="error") naming a file that cannot
        be read, has no Cα atom, or an atom without finite coordinates; with corrupt="skip" such
        files are counted, and it is an error if none is left.
    """
    listing = list_files(root, SUFFIXES + tuple(f"{end}.gz" for end in SUFFIXES), EXPECTED)
    if not listing.files:
        raise FileNotFoundError(f"There is no structure in {root}: expected {EXPECTED}.")
    _gemmi()  # without it every file would count as one that cannot be read
    chains: list[Chain] = []
    skipped = 0
    for parts, name in listing.files.items():
        try:
            chains += read_structure(Path(name), parts[0])
        except ValueError:
            if corrupt == "error":
                raise
            skipped += 1
    if not chains:
        raise ValueError(
            f"None of the {len(listing.files)} structures in {root} has a Cα atom with finite "
            f"coordinates."
        )
    left_out = listing.left_out + Counter({"unreadable structures": skipped})
    return chains, left_out


def read_structure(path: Path, complex_name: str) -> list[Chain]:
    """The chains of one file that have a Cα atom.

    Raises:
      ValueError: naming the file, if it cannot be read or has no Cα atom.
    """
    gemmi = _gemmi()
    try:
        content = read_file(str(path))
        content = _unpacked(content, path) if path.suffix.lower() == ".gz" else content
        structure = _structure(gemmi, content, path.name.lower().removesuffix(".gz"))
    except Exception as error:  # gemmi raises RuntimeError, ValueError, OSError, …
        raise ValueError(
            f"{path} cannot be read as a PDB or mmCIF file ({error}): repair or remove it, or "
            f'leave such files out with corrupt="skip" (config.data.corrupt).'
        ) from error
    chains = []
    if len(structure):
        structure.remove_alternative_conformations()  # the first stays
        for chain in structure[0]:
            alphas = _alphas(gemmi, chain)
            if alphas:
                atoms, letters = zip(*alphas, strict=True)
                sequence = "".join(letters).encode()
                where = f"{path}, chain {chain.name},"
                chains.append(Chain(positions(np.array(atoms), where), complex_name, sequence))
    if not chains:
        raise ValueError(
            f"{path} has no Cα atom in its first model: it holds no protein (or is no PDB or mmCIF "
            f'file); remove it, or leave such files out with corrupt="skip" (config.data.corrupt).'
        )
    return chains


def _unpacked(content: bytes, path: Path) -> bytes:
    """A .gz unpacked, but for one whose content is larger than any that is read here."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
        unpacked = packed.read(LARGEST + 1)
    check_length(str(path), len(unpacked))
    return unpacked


def _alphas(gemmi: Any, chain: Any) -> list[tuple[list[float], str]]:
    """(position, one letter) of each Cα; one of calcium is none."""
    alphas = []
    for residue in chain:
        if residue.het_flag != "A" and residue.name != "MSE":
            continue
        atom = residue.find_atom("CA", "*", gemmi.Element("C"))
        if atom is not None:
            letter = gemmi.find_tabulated_residue(residue.name).one_letter_code.upper()
            alphas.append((atom.pos.tolist(), letter.strip() or "X"))
    return alphas


def _structure(gemmi: Any, content: bytes, name: str) -> Any:
    """A parsed structure; gemmi reads a coordinate that is no number as 0, so that we look first.

    Raises:
      ValueError: naming the first atom with such a coordinate.
    """
    text = content.decode("utf-8", "replace")
    if name.endswith((".cif", ".mmcif")):
        document = gemmi.cif.read_string(text)
        for block in document:
            columns = [f"Cartn_{axis}" for axis in "xyz"]
            for number, row in enumerate(block.find("_atom_site.", columns), start=1):
                _check_numbers(list(row), f"atom {number} of _atom_site")
        return gemmi.make_structure_from_block(document[0])
    for number, line in enumerate(text.splitlines(), start=1):
        # gemmi knows a record by its first four letters, in either case.
        if line[:4].upper() in ("ATOM", "HETA"):
            _check_numbers([line[30:38], line[38:46], line[46:54]], f"line {number}")
    return gemmi.read_pdb_string(text)


def _check_numbers(texts: list[str], where: str) -> None:
    # Stricter than float(), which takes 1_0 and digits of any script where gemmi reads others.
    if not all(_NUMBER.fullmatch(text) and math.isfinite(float(text)) for text in texts):
        raise ValueError(f"{where} has the coordinates {' '.join(texts)}, not finite numbers")


def _gemmi() -> Any:
    try:
        import gemmi
    except ImportError as error:
        raise ValueError(
            f"PDB and mmCIF files are read by gemmi, which cannot be imported ({error}): "
            f"pip install 'eqssl_jax[proteins]', or give the atoms as an .npz."
        ) from None
    return gemmi
