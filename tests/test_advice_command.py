"""The binary that compares roles: help at once, mistakes by name, the plan, and its config."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from eqssl_jax import presets
from eqssl_jax.advice import show_plan
from eqssl_jax.advice.candidates import candidates
from eqssl_jax.methods import build_recipe

ROOT = Path(__file__).parent.parent


def advise(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "eqssl_jax.advise", *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=False,
        env={**os.environ, "XLA_FLAGS": ""},
    )  # fmt: skip


def config_of(dataset="shapes"):
    spec = importlib.util.spec_from_file_location("advise", ROOT / "configs" / "advise.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(dataset)


def test_help_imports_nothing_heavy():
    program = (
        "import sys, eqssl_jax.advise\n"
        "print([m for m in ('jax', 'flax', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert process.stdout.strip() == "[]"
    shown = advise("--help")
    assert "dry_run" in shown.stdout and "--workdir" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir=x"], "--config is needed"),
        (["--config=configs/advise.py"], "--workdir is needed"),
        (["--config=configs/advise.py:shape", "--workdir=x"], "'shape' is unknown"),
        (
            ["--config=configs/advise.py", "--config.advice.seed=3", "--workdir=x"],
            "no setting 'seed'",
        ),
    ],
)
def test_mistakes_end_with_their_name_and_without_a_traceback(arguments, message):
    ended = advise(*arguments)
    assert ended.returncode != 0
    assert message in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (ROOT / "x").exists()


def test_the_plan_of_the_shipped_config(capsys):
    config = config_of()
    with config.unlocked():
        config.data.options = ConfigDict(
            {"train_size": 160, "test_size": 16, "out_of_range_size": 16}
        )
        config.advice.parts = ("rotate", "hue")
        config.advice.most = 4
    show_plan(config)
    shown = " ".join(capsys.readouterr().out.split())
    assert "5 candidates × 3 seeds × 200 steps of 64 images" in shown
    assert "dropped on the way" in shown and "conv_tiny" in shown
    assert shown.count("ordered, off") == 2 and shown.count("nothing") == 4


@pytest.mark.parametrize("dataset", presets.FACTORED)
def test_every_variant_has_something_to_compare(dataset):
    config = config_of(dataset)
    recipe = build_recipe(config.recipe.name, config.recipe.options)
    names = {candidate.name for candidate in candidates(config, recipe)}
    assert {"base", "rotate_ordered", "hue_off"} <= names
    assert len(names) <= config.advice.most  # all of them are trained to the end
