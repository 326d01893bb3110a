"""The command `eqssl`: one name for every binary of the package.

    eqssl train --config=care:cifar10 --workdir=runs/care

is `python -m eqssl_jax.main --config=care:cifar10 --workdir=runs/care`, and so for the others.
"""

import os
import runpy
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from eqssl_jax import __version__, shipped

# A new binary is one line here: its name, its module, what it does.
COMMANDS = {
    "train": ("main", "train by a config; for several runs in one config, compare them"),
    "eval": ("eval", "evaluate the checkpoints of a run"),
    "measure": ("measure", "what any encoder is equivariant to"),
    "advise": ("advise", "which role each transformation should have"),
    "embed": ("embed", "features and embeddings of a data set, into a file"),
    "export": ("export", "weights, a program and a model card for others"),
    "transfer": ("transfer", "encoders on other data: probe, neighbours, a few images a class"),
    "prepare": ("prepare", "public image sets from their publishers, without TensorFlow"),
    "sweep": ("sweep", "a config over values of its settings and seeds"),
    "report": ("report", "runs as one HTML page"),
    "tables": ("tables", "tables and figures of the CARE paper, beside the published numbers"),
}
WIDTH = max(map(len, COMMANDS)) + 2


def usage() -> str:
    """All commands, configs and launchers."""
    commands = [f"  {name:<{WIDTH}}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            f"eqssl_jax {__version__}: equivariant self-supervised learning in JAX\n",
            "  eqssl COMMAND FLAGS      a command; eqssl COMMAND --help has its flags",
            "  eqssl launch [SCRIPT …]  a launcher: local processes, SLURM, Kubernetes, Cloud TPU",
            "  eqssl --version\n",
            *commands,
            f"\nConfigs (--config=NAME or NAME:VARIANT): {', '.join(shipped.configs())}",
        ]
    )


def launch(arguments: Sequence[str]) -> None:
    """Become the launcher of that name; without a name, list them.

    Raises:
      SystemExit: with status 2 for a name that no launcher has, with 1 where there is no bash.
    """
    folder = shipped.folder("launch")
    names = sorted(path.stem for path in folder.glob("*.sh") if os.access(path, os.X_OK))
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"eqssl launch SCRIPT FLAGS, with --help for each: {', '.join(names)}")
        return
    name = arguments[0].removesuffix(".sh")
    if name not in names:
        _refuse(f"there is no launcher {arguments[0]!r}: choose from {', '.join(names)}.")
    bash = shutil.which("bash")
    if bash is None:
        _refuse("launchers are bash scripts, and there is no bash in PATH.", status=1)
    os.execv(bash, [bash, str(folder / f"{name}.sh"), *arguments[1:]])


def _refuse(text: str, status: int = 2) -> NoReturn:
    print(f"\nError: {text}", file=sys.stderr)
    raise SystemExit(status)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names, exactly as `python -m` runs its module.

    Raises:
      SystemExit: with status 2 for a command that does not exist; else as the command ends.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(usage())
    elif name == "--version":
        print(__version__)
    elif name == "launch":
        launch(arguments[1:])
    elif name in COMMANDS:
        module = f"eqssl_jax.{COMMANDS[name][0]}"
        sys.argv = [module, *arguments[1:]]  # runpy puts the file of the module first
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        _refuse(f"there is no command {name!r}: choose from {', '.join(COMMANDS)}, launch.")


if __name__ == "__main__":
    main()
