"""What comes with the package beside its modules: config files and launchers, found by their names.

In a checkout they lie beside the package, where they are read and changed; in a wheel within it.
"""

import difflib
from pathlib import Path


def folder(kind: str) -> Path:
    """The folder `configs` or `launch` of this installation."""
    package = Path(__file__).parent
    return package / kind if (package / kind).is_dir() else package.parent / kind


def configs() -> list[str]:
    """The short names of the config files that come with the package."""
    return sorted(path.stem for path in folder("configs").glob("*.py"))


def config_file(name: str) -> str:
    """The file, with its variant, that a value of --config stands for.

    A short name is a config of the package, from any folder: "care:cifar10". Everything that has a
    slash or a dot, or is a file here, is a path and stays as it is.

    >>> Path(config_file("care:cifar10")).name, config_file("mine/care.py:cifar10")
    ('care.py:cifar10', 'mine/care.py:cifar10')

    Raises:
      ValueError: for a short name that no config of the package has.
    """
    stem, colon, variant = name.partition(":")
    if not stem.isidentifier() or Path(stem).is_file():
        return name
    file = folder("configs") / f"{stem}.py"
    if not file.is_file():
        near = difflib.get_close_matches(stem, configs(), 1)
        raise ValueError(
            f"there is no config {stem!r} in the package"
            + (f" (did you mean {near[0]!r}?)" if near else "")
            + f": it has {', '.join(configs())}; a file of your own is given by its path, "
            f"e.g. --config=my_configs/{stem}.py."
        )
    return f"{file}{colon}{variant}"


def advice(path: Path) -> str:
    """What to write instead of the path of a config file that is not there."""
    if path.stem in configs():
        return f"the config of that name in the package is --config={path.stem}"
    return f"those of the package are {', '.join(configs())}, e.g. --config=care:cifar10"
