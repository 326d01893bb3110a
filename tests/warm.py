"""Command lines of binaries, run one after the other by one process that imported all once.

    python tests/warm.py MODULE JSON

forks for each list of arguments in JSON, runs MODULE as `python -m MODULE` would, and prints the
status and the output of each. Importing takes seconds, and a mistake in a flag none.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
# Quick rather than good code: the older emitters of fusions compile in two thirds of the time, and
# a program that is not cut into 32 parts, for as many threads, again in two thirds of that.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1"
)


class Ended(NamedTuple):
    """How a command line ended: its exit status, and stdout and stderr together."""

    status: int
    output: str


def ended(module: str, *lines: list[str]) -> list[Ended]:
    """How each of these command lines of a module ends."""
    done = subprocess.run(
        [sys.executable, __file__, module, json.dumps(lines)],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=True,
        env={**os.environ, "XLA_FLAGS": QUICK, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return [Ended(*fields) for fields in json.loads(done.stdout)]


def _status(module: str, arguments: list[str]) -> int:
    """What the interpreter would exit with, which prints what it would print."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if isinstance(stop.code, int | None):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def forked(module: str, arguments: list[str]) -> Ended:
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            status = _status(module, arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # taking all modules down takes a second
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return Ended(status, output.read())


if __name__ == "__main__":
    import eqssl_jax.experiment.run
    import eqssl_jax.studies.overview
    import eqssl_jax.studies.produce  # noqa: F401

    warnings.simplefilter("ignore")  # jax warns of forks; no device was touched yet
    print(json.dumps([forked(sys.argv[1], arguments) for arguments in json.loads(sys.argv[2])]))
