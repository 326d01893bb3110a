"""What `--data` names: a source by its name, or the place of images."""

from pathlib import Path
from typing import Any

from eqssl_jax.data import hugging_face, sources
from eqssl_jax.names import user_path

SUFFIXES = {".npz": "arrays", ".zip": "folder"}


def check_text(data: Any) -> None:
    """Refuse what is neither a name nor a place, such as the images themselves.

    Raises:
      ValueError: with what was found.
    """
    if not isinstance(data, str | Path):
        shape = f" of shape {tuple(data.shape)}" if hasattr(data, "shape") else ""
        raise ValueError(
            f"The data are a {type(data).__name__}{shape}, where a folder, a .zip, an .npz or the "
            f"name of a data set is taken. Write arrays with np.savez('set.npz', images=…, "
            f"labels=…), uint8 [N, H, W, C], and give that file."
        )


def named(data: str | Path, directory: str = "") -> tuple[str, str | None]:
    """The name and directory for `sources.load` of what a command was given.

    | data                              | name            | directory       |
    |-----------------------------------|-----------------|-----------------|
    | a folder or .zip of images        | "folder"        | data            |
    | an .npz file of arrays            | "arrays"        | data            |
    | a source (shapes, fruits360, …)   | data            | the directory   |
    | hf:NAME or hf:PATH                | data            | the directory   |
    | any other: a TFDS name            | data            | its data_dir    |
    | NAME@DIRECTORY, where it is no path | NAME          | DIRECTORY       |

    >>> named("cifar10:3.0.2", "~/sets"), named("shapes")
    (('cifar10:3.0.2', '~/sets'), ('shapes', None))

    Raises:
      FileNotFoundError: for a path where nothing is.
      ValueError: for a file that is neither, a directory beside a path, and what is no text.
    """
    check_text(data)
    data = str(data)
    if not data:
        raise ValueError("--data is empty: give a folder, a .zip, an .npz, or a data set's name.")
    path = user_path(data)
    if "@" in data and not path.exists() and not directory:
        data, _, directory = data.partition("@")
        path = Path(data)
    looks_like_path = "/" in data or path.suffix in SUFFIXES or data in (".", "..")
    if (
        data in sources.NAMES
        or data.startswith(hugging_face.PREFIX)
        or not (looks_like_path or path.exists())
    ):
        return data, directory or None
    if directory:
        raise ValueError(
            f"{data} is a place, so it takes no directory beside it (found {directory!r}); the "
            f"sources {', '.join(sources.NAMES)} and names of TFDS do."
        )
    if not path.exists():
        raise FileNotFoundError(f"There is no {data}: expected a folder, a .zip or an .npz.")
    if path.is_dir():
        return "folder", str(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{data} is no data set: expected a folder of images, a .zip of one, or an .npz of "
            f"arrays, found a file ending in {path.suffix or 'nothing'}."
        )
    return SUFFIXES[path.suffix], str(path)
