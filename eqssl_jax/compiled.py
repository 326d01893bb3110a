"""Compiled programs are kept in the user's cache folder, so that a second run starts at once."""

import hashlib
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

VARIABLE = "EQSSL_COMPILE_CACHE"
# Of jax, when it cannot use what is there: a disk that is full, an entry another is writing.
_TROUBLE = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '([^']*)': (.*)", re.DOTALL
)


def keep_programs(environment: Mapping[str, str] = os.environ) -> None:
    """Let jax keep what it compiles, and read what an earlier process has kept.

    The folder is $EQSSL_COMPILE_CACHE ("off": none), by default `eqssl_jax` in $XDG_CACHE_HOME or
    ~/.cache. Nothing is changed where JAX_COMPILATION_CACHE_DIR or the program has chosen one.
    Processes may share it: an entry is named by a hash of the program, its options and versions.
    An entry that cannot be read is compiled anew, a folder that cannot be written stays as it is,
    and either is said once: see `_tell_once`.
    """
    import jax

    if chosen := getattr(jax.config, "jax_compilation_cache_dir", None):
        _tell_once(Path(chosen))
    elif folder := cache_folder(environment):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in environment:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
        _tell_once(folder)


def quick() -> dict[str, str | bool]:
    """Options of jax.jit for a program that runs once: on CPU it is compiled fast, not well.

    XLA's older emitters of fusions take half of the time of the newer ones, and the first weights
    of a ResNet-18 are equal bit for bit.
    """
    import jax

    if jax.default_backend() != "cpu":
        return {}
    return {"xla_backend_optimization_level": "0", "xla_cpu_use_fusion_emitters": False}


def once(function: Callable[..., Result], *inputs: Any) -> Result:
    """`function(*inputs)` as one program that is compiled by `quick`: it will not run again.

    Each operation by itself would be compiled by itself. Where an input is being traced (in
    jax.eval_shape, in another program) it is a part of that: compiler options are for outermost
    programs.

    >>> import jax.numpy as jnp
    >>> float(once(lambda x: 2 * x + 1, jnp.ones(())))
    3.0
    """
    import jax

    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(inputs)):
        return function(*inputs)
    return jax.jit(function, compiler_options=quick())(*inputs)


def often() -> dict[str, str]:
    """Options of jax.jit for a program that runs often: on CPU the first level of optimisation.

    The higher ones take a fifth to a quarter more CPU seconds to compile a training step, which is
    then no faster (docs/results/step). A level in $XLA_FLAGS is kept.
    """
    import jax

    level = "xla_backend_optimization_level"
    if jax.default_backend() != "cpu" or level in os.environ.get("XLA_FLAGS", ""):
        return {}
    return {level: "1"}


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where programs for this kind of processor are kept; None: nowhere."""
    chosen = environment.get(VARIABLE, "")
    if chosen.lower() == "off":
        return None
    if "://" in chosen:
        print(
            f"Warning: {VARIABLE} is the address {chosen}, and compiled programs are kept in "
            f"folders: none is kept. Give a folder, or off.",
            file=sys.stderr,
        )
        return None
    try:
        base = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eqssl_jax"
        root = Path(chosen).expanduser() if chosen else base
    except RuntimeError:  # a user without a home
        return None
    # A program for one processor may hold instructions that another lacks.
    return root / f"programs-{hashlib.sha256(_processor().encode()).hexdigest()[:12]}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    descriptions = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join([platform.machine(), platform.processor(), *sorted(set(descriptions))])


def _tell_once(folder: Path) -> None:
    """One sentence for all that is wrong with the folder; an entry that is damaged is removed.

    jax itself would warn anew for each program, in each run.
    """
    before, reasons = warnings.showwarning, list[str]()

    def show(message: Any, *where: Any, **more: Any) -> None:
        trouble = _TROUBLE.match(str(message))
        if not trouble:
            return before(message, *where, **more)
        attempt, program, reason = trouble.groups()
        if attempt == "reading":
            _remove(folder, program)
        if not reasons:
            reasons.append(reason)
            print(
                f"Warning: {attempt} a compiled program in {folder} failed "
                f"({reason.strip()[:200]}). It is compiled anew, which changes no result; "
                f"{VARIABLE} names another folder, or off.",
                file=sys.stderr,
                flush=True,
            )
        return None

    warnings.showwarning = show


def _remove(folder: Path, program: str) -> None:
    """Entries of a program, one of which cannot be read: jax would never write it again."""
    try:
        for entry in folder.iterdir():
            if entry.name.startswith(f"{program}-") and entry.name.endswith("-cache"):
                entry.unlink(missing_ok=True)
    except OSError:
        return
