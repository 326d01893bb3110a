"""Compiled programs are kept for the next process; what is wrong with the cache stops nothing."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import compilations

from eqssl_jax import command, compiled
from eqssl_jax.compiled import cache_folder
from eqssl_jax.training import step
from eqssl_jax.training.mesh import make_mesh

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax import monitoring
from eqssl_jax.compiled import keep_programs
keep_programs()
hits = []
monitoring.register_event_listener(lambda name, **_: hits.append(name.endswith("cache_hits")))
double = jax.jit(lambda x: jnp.sin(x) * 2)
half = jax.jit(lambda x: jnp.cos(x) / 2)
print([float(f(np.float32(0.7))).hex() for f in (double, half)], sum(hits))
"""


def run(**variables):
    """What a process prints that compiles two programs, and what it complains of."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_COMP", "EQSSL"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True, text=True, check=True,
        env={**kept, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", **variables},
    )  # fmt: skip
    return done.stdout.strip().rsplit(" ", 1), done.stderr


@pytest.mark.slow
def test_a_second_process_reads_what_the_first_compiled_and_damage_is_said_once(tmp_path):
    (without, hits), _ = run(EQSSL_COMPILE_CACHE="off", XDG_CACHE_HOME=str(tmp_path))
    assert hits == "0" and not list(tmp_path.iterdir())
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    assert run(**cache) == ([without, "0"], "")
    assert run(**cache) == ([without, "2"], "")
    entries = list(tmp_path.glob("eqssl_jax/programs-*/*-cache"))
    assert len(entries) == 2
    for entry in entries:  # as a process that is still writing, or a full disk, leaves them
        entry.write_bytes(entry.read_bytes()[:100])
    (numbers, _), complaint = run(**cache)
    assert numbers == without
    assert complaint.count("Warning: reading a compiled program") == 1 == complaint.count("\n")
    assert run(**cache) == ([without, "2"], "")  # mended


@pytest.mark.slow
def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (_, hits), complaint = run(XDG_CACHE_HOME=str(tmp_path / "file"))
    assert hits == "0"
    assert complaint.count("\n") == 1 and "EQSSL_COMPILE_CACHE" in complaint


@pytest.mark.parametrize(
    ("variables", "parent"),
    [
        ({"XDG_CACHE_HOME": "/a"}, "/a/eqssl_jax"),
        ({"HOME": "/h"}, "/h/.cache/eqssl_jax"),
        ({"EQSSL_COMPILE_CACHE": "/c", "XDG_CACHE_HOME": "/a"}, "/c"),
        ({"EQSSL_COMPILE_CACHE": "OFF"}, None),
    ],
)
def test_where_programs_are_kept(variables, parent, monkeypatch):
    if "HOME" in variables:
        monkeypatch.setenv("HOME", variables["HOME"])
    folder = cache_folder(variables)
    assert (folder and folder.parent) == (parent and Path(parent))


def test_an_address_is_no_folder_for_programs(capsys):
    assert cache_folder({"EQSSL_COMPILE_CACHE": "gs://bucket/programs"}) is None
    assert "the address gs://bucket/programs, and compiled programs" in capsys.readouterr().err


def test_every_binary_keeps_its_programs(monkeypatch):
    called = []
    monkeypatch.setattr(command, "keep_programs", lambda: called.append("keep"))
    command.run_command(lambda: called.append("action"), ["main"])
    assert called == ["keep", "action"]


@pytest.mark.parametrize(
    ("flags", "backend", "level"),
    [
        ("", "cpu", "1"),
        ("--xla_cpu_use_fusion_emitters=true", "cpu", "1"),
        ("--xla_backend_optimization_level=3", "cpu", None),
        ("", "gpu", None),
    ],
)
def test_steps_are_optimised_a_little_on_cpu_where_no_level_is_chosen(
    flags, backend, level, monkeypatch
):
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert compiled.often().get("xla_backend_optimization_level") == level


def test_once_is_one_program_and_a_part_of_another():
    def several(x, y):
        return {"sum": jnp.sin(x) + y, "product": jnp.cos(x) * y}

    inputs = jnp.arange(7.0), jnp.full(7, 3.0)
    with compilations() as programs:
        result = compiled.once(several, *inputs)
    assert len(programs) == 1
    np.testing.assert_allclose(result["sum"], np.sin(np.arange(7.0)) + 3, rtol=1e-6)
    with compilations() as programs:
        shapes = jax.eval_shape(lambda x: compiled.once(several, x, inputs[1]), inputs[0])
    assert not programs and shapes["product"].shape == (7,)
    traced = jax.jit(lambda x: compiled.once(several, {"nested": x}["nested"], inputs[1]))(
        inputs[0]
    )
    np.testing.assert_allclose(traced["product"], result["product"], rtol=1e-6)


def test_a_step_is_compiled_with_these_options(monkeypatch):
    """XLA refuses an option that it does not know: so they reach it."""
    monkeypatch.setattr(step, "often", lambda: {"xla_no_such_option": "1"})
    program = step.compile_step(lambda state, pool, inputs: (state, {}), make_mesh())
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        program({}, (), np.arange(8))
