"""From workdirs to the page: whatever lies there is collected, whatever is missing is left out."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax import page, storage
from eqssl_jax.config import plain
from eqssl_jax.experiment.embedded import umap_plane
from eqssl_jax.experiment.stored import read_arrays, read_result, run_folders
from eqssl_jax.training.environment import read_environment
from eqssl_jax.training.workdir import read_config


def write_page(workdirs: Sequence[Path], out: Path, *, layout: str = "pca") -> Path:
    """Write the page of all runs in `workdirs` to the file `out`, and say where it is.

    Args:
      workdirs: each a run's folder, or one that holds runs up to two levels below.
      out: the HTML file; its folder is made.
      layout: of maps of embeddings, "pca" or "umap".

    Raises:
      FileNotFoundError: for a workdir that is not there or holds no run.
      ValueError: for a config.json that is damaged.
      OSError: where `out` cannot be written, or is a folder.
    """
    if out.is_dir():
        raise OSError(f"--out is the folder {out}: give the name of a file, e.g. {out / 'x.html'}.")
    folders = [folder for workdir in workdirs for folder in find_runs(workdir)]
    named = names(list({folder.resolve(): folder for folder in folders}.values()))
    runs = [collect(folder, name) for folder, name in named.items()]
    if layout == "umap":
        runs = [run._replace(arrays=_by_umap(run)) for run in runs]
    text = page.html_page(runs, shared=shared_figures(workdirs))
    with storage.writing(out, ", or give another --out"):
        out.parent.mkdir(parents=True, exist_ok=True)
        storage.write(out, text)
    return out


def shared_figures(workdirs: Sequence[Path]) -> dict[str, bytes]:
    """The PNGs that lie in the workdirs themselves, by name; of equal names, the folder's too."""
    paths = [path for workdir in workdirs for path in sorted(workdir.glob("*.png"))]
    paths = list({path.resolve(): path for path in paths}.values())
    times = Counter(path.stem for path in paths)
    return {
        path.stem if times[path.stem] == 1 else f"{path.stem} ({path.parent})": path.read_bytes()
        for path in paths
    }


def find_runs(workdir: Path) -> list[Path]:
    """The runs of a folder, as `run_folders`; of a table's folder, those two levels below.

    Raises:
      FileNotFoundError: if the folder is not there, or holds none.
    """
    if not workdir.is_dir():
        raise FileNotFoundError(
            f"There is no folder {workdir}: give the --workdir that training was started with."
        )
    deeper = sorted(path.parent for path in workdir.glob("*/*/config.json"))
    try:
        folders = run_folders(workdir)
    except FileNotFoundError:
        if not deeper:
            raise
        folders = []
    alone = folders == [workdir]  # what lies inside a run (candidates of advice) is its own matter
    return folders if alone else sorted({*folders, *(d for d in deeper if d.parent not in folders)})


def names(folders: Sequence[Path]) -> dict[Path, str]:
    """A name for each folder: its own, with as many of those above as make it unique.

    >>> list(names([Path("a/care"), Path("b/care"), Path("b/simclr")]).values())
    ['a/care', 'b/care', 'simclr']
    """
    paths = {folder: folder.resolve().parts for folder in folders}
    depths = dict.fromkeys(paths, 1)
    while True:
        named = {folder: "/".join(p[-depths[folder] :]) for folder, p in paths.items()}
        times = Counter(named.values())
        again = [f for f, name in named.items() if times[name] > 1 and depths[f] < len(paths[f])]
        if not again:
            return named
        depths |= {folder: depths[folder] + 1 for folder in again}


def collect(folder: Path, name: str) -> page.Run:
    """What a run's folder holds; damaged lines and files become notes.

    Raises:
      ValueError: if its config.json is damaged.
    """
    records, notes = _records(folder)
    evaluations = {}
    for path in sorted(folder.glob("eval/*.json")):
        if path.stem.isdigit():
            try:
                evaluations[int(path.stem)] = read_result(path)
            except ValueError:
                notes.append(f"eval/{path.name} is damaged and was left out")
    figures = {}
    if evaluations:
        start = f"{max(evaluations)}_"
        figures = {
            path.stem.removeprefix(start): path.read_bytes()
            for path in sorted(folder.glob(f"eval/{start}*.png"))
        }
    config = plain(read_config(folder))
    starts = read_environment(folder)
    arrays = _drawn_arrays(folder / "eval" / f"{max(evaluations, default=0)}_arrays.npz")
    return page.Run(
        name, str(folder), config, records, evaluations, figures, starts, tuple(notes), arrays
    )


def _drawn_arrays(path: Path) -> dict[str, np.ndarray]:
    """What maps and ladders need; nothing where the step was evaluated without, or is damaged."""
    try:
        stored = read_arrays(path)
    except (ValueError, OSError):
        return {}
    return {name: array for name, array in stored.items() if name.startswith(("map", "walk"))}


def _by_umap(run: page.Run) -> dict[str, np.ndarray]:
    """A run's arrays with its map laid out by UMAP; its share of the variance is no longer one.

    Raises:
      ValueError: if the run has a map but not what was laid out.
    """
    arrays = {name: array for name, array in run.arrays.items() if name != "map_share"}
    if "map" not in arrays:
        return arrays
    if "map_unit" not in arrays:
        raise ValueError(
            f"{run.folder} was evaluated by an older version, which kept no embeddings for "
            f"--layout=umap: evaluate it again (eqssl eval --workdir={run.folder}), or leave "
            f"--layout out."
        )
    return arrays | {"map": umap_plane(arrays["map_unit"])}


def _records(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines of metrics.jsonl in the order of their steps, and how many could not be read."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return [], ["no metrics.jsonl: nothing has been trained"]
    records, damaged = [], 0
    for line in storage.read_log(path).splitlines():
        row = _parsed(line)
        if isinstance(row, dict) and type(row.get("step")) is int:
            records.append(row)
        else:
            damaged += 1
    note = f"{damaged} line{'s' * (damaged > 1)} of metrics.jsonl could not be read"
    return sorted(records, key=lambda row: row["step"]), [note] if damaged else []


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # JSONDecodeError and UnicodeDecodeError are both
        return None
