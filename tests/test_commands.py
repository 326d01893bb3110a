"""The binaries as a user starts them: help, mistakes, and one whole small run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import warm

ROOT = Path(__file__).parent.parent


def command(*arguments, timeout=600, **variables):
    """Run a module as a user would: on one device, not on the eight that tests pretend to have."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, timeout=timeout, check=False,
        env={**os.environ, "XLA_FLAGS": warm.QUICK, **variables},
    )  # fmt: skip


def test_help_imports_nothing_heavy():
    """--help must answer at once: neither jax nor matplotlib may be loaded for it."""
    program = (
        "import sys; from absl import app\n"
        "import eqssl_jax.main, eqssl_jax.eval, eqssl_jax.tables\n"
        "print([m for m in ('jax', 'flax', 'matplotlib', 'tensorflow_datasets') "
        "if m in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert process.stdout.strip() == "[]"
    shown = command("eqssl_jax.main", "--help")
    assert "dry_run" in shown.stdout
    assert "--workdir" in shown.stdout


MISTAKES = [
    (["--workdir=x"], "--config is needed"),
    (["--config=configs/quickstart.py"], "--workdir is needed"),
    (["--config=configs/quickstart.py", "--workdir=ftp://bucket/x"], "give a folder"),
    (["--config=configs/nothing.py", "--workdir=x"], "nothing.py"),
    (["--config=configs/care.py:cifar11", "--workdir=x"], "cifar11"),
    (["--config=configs/care.py", "--workdir=x", "--config.optimzer.name=sgd"], "optimzer"),
    (
        ["--config=configs/care.py", "--workdir=x", "--config.train.batch_size=ten"],
        "batch_size",
    ),
    (["--config=configs/care.py", "--workdir=x", "--config.roles.flp=off"], "flp"),
    (["--config=configs/quickstart.py", "--workdir=x", "again"], "Unexpected argument"),
    (
        ["--config=configs/care.py:folder", "--workdir=x", "--config.data.directory=nowhere"],
        "nowhere",
    ),
]


@pytest.fixture(scope="module")
def mistaken():
    return warm.ended("eqssl_jax.main", *(arguments for arguments, *_ in MISTAKES))


@pytest.mark.parametrize("case", range(len(MISTAKES)))
def test_mistakes_end_with_their_name_and_without_a_traceback(mistaken, case):
    *_, message = MISTAKES[case]
    status, output = mistaken[case]
    assert status != 0
    assert message in " ".join(output.split())
    assert "Traceback" not in output


def test_evaluating_what_is_no_run(tmp_path):
    ended = command("eqssl_jax.eval", f"--workdir={tmp_path}")
    assert ended.returncode == 1
    assert "not the folder of a run" in ended.stderr.replace("\n", " ")
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """CARE on shapes for a few steps, trained by the command."""
    folder = tmp_path_factory.mktemp("runs") / "care"
    arguments = [
        "--config=configs/care.py:shapes", f"--workdir={folder}", "--config.train.steps=4",
        "--config.train.batch_size=16", "--config.objectives.equivariance.splits=4",
        "--config.train.log_every=2", "--config.train.knn_every=2", "--config.train.save_every=2",
        "--config.optimizer.warmup_epochs=0.", "--config.evaluation.preset=quick",
        "--config.model.encoder=conv_tiny", "--config.model.projector=(32, 16)",
        "--config.knn.bank=200", "--config.knn.queries=50",
    ]  # fmt: skip
    ended = command("eqssl_jax.main", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert "images/s" in ended.stdout
    again = command("eqssl_jax.main", *arguments)
    assert again.returncode == 0, again.stderr
    assert "images/s" not in again.stdout  # there was nothing left to do
    return folder


@pytest.mark.slow
def test_a_run_leaves_what_the_readme_says(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 2, 4, 4]
    assert json.loads((workdir / "config.json").read_text())["train"]["steps"] == 4
    assert (workdir / "checkpoints" / "4").is_dir()


@pytest.mark.slow
def test_eval_reads_only_the_workdir(workdir):
    options = ["train_images=128", "validation_images=64", "test_images=64", "rotation_images=48",
               "out_of_range_images=64", "pair_images=32", "augmentations=2", "pairs=1",
               "probe_steps=20", "queries=16", "ladder_images=16", "ladder_rungs=3",
               "knn_neighbours=20"]  # fmt: skip
    ended = command(
        "eqssl_jax.eval", f"--workdir={workdir}", "--watch", *[f"--option={o}" for o in options]
    )
    assert ended.returncode == 0, ended.stderr
    for step in (2, 4):
        result = json.loads((workdir / "eval" / f"{step}.json").read_text())
        assert result["step"] == step
        assert set(result["encoders"]) == {"trained", "random", "pixels"}
        for metrics in result["encoders"].values():
            assert {"knn", "probe_top1", "wahba_per_root_n", "gamma", "r2_hue"} <= set(metrics)
            assert 0 <= metrics["knn"]["value"] <= 1
        with np.load(workdir / "eval" / f"{step}_arrays.npz") as stored:
            assert stored["cosines/trained"].shape == stored["cosines/random"].shape == (2, 48)
            assert stored["wahba_per_root_n/trained"].shape == (2,)
            assert stored["before_images/trained"].shape == (6, 5, 32, 32, 3)
        figures = {path.name for path in (workdir / "eval").glob(f"{step}_*.png")}
        assert figures == {
            f"{step}_{name}.png"
            for name in (
                "views",
                "curves",
                "cosines",
                "neighbours",
                "ladders",
                "spectrum_order_accuracy_amid",
                "spectrum_magnitude_r2",
                *(
                    (
                        "spectrum_order_accuracy_amid_over_training",
                        "spectrum_magnitude_r2_over_training",
                    )
                    if step == 4
                    else ()
                ),
            )
        }


@pytest.mark.slow
def test_the_plan_says_what_would_happen_and_trains_nothing(tmp_path):
    shown = command(
        "eqssl_jax.main", "--config=configs/care.py:shapes", "--dry_run",
        f"--workdir={tmp_path / 'none'}", "--config.train.batch_size=16",
        "--config.objectives.equivariance.splits=4",
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    for text in ("rotational", "FLOPs per step", "MiB working", "resnet_tiny", "64 "):
        assert text in shown.stdout
    assert not (tmp_path / "none").exists()


@pytest.mark.long
def test_training_with_64_bits_enabled(tmp_path):
    arguments = [
        "eqssl_jax.main", "--config=configs/care.py:shapes", f"--workdir={tmp_path / 'run'}",
        "--config.train.steps=2", "--config.train.batch_size=16", "--config.train.log_every=1",
        "--config.objectives.equivariance.splits=4", "--config.model.encoder=conv_tiny",
        "--config.model.projector=(8, 4)", "--config.knn.bank=50", "--config.knn.queries=20",
    ]  # fmt: skip
    quick = {"JAX_ENABLE_X64": "1"}
    ended = command(*arguments, **quick)
    assert ended.returncode == 0, ended.stderr
    again = command(*arguments, **quick)  # its checkpoint is read, too
    assert "Training is finished: step 2 of 2" in again.stdout, again.stderr
