"""What a run records of where it was trained."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from eqssl_jax import __version__
from eqssl_jax.training import environment as recorded
from eqssl_jax.training.environment import (
    commit,
    environment,
    read_environment,
    record_environment,
)


def git(folder, *arguments):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    (package / "code.py").write_text("x = 1\n")
    git(package, "init", "-q")
    git(package, "add", ".")
    git(package, "commit", "-q", "-m", "one")
    return package


def test_the_commit_and_whether_it_was_changed(checkout):
    recorded = commit(checkout)
    assert recorded is not None and not recorded["changed"]
    assert len(recorded["hash"]) == 40 and int(recorded["hash"], 16)
    (checkout / "notes.txt").write_text("not tracked: no change of the code")
    assert commit(checkout) == recorded
    (checkout / "code.py").write_text("x = 2\n")
    assert commit(checkout) == {**recorded, "changed": True}


def test_no_commit_outside_a_checkout_or_in_one_that_does_not_track_the_package(
    checkout, tmp_path, monkeypatch
):
    assert commit(tmp_path) is None
    installed = checkout.parent / "venv" / "site-packages"
    installed.mkdir(parents=True)
    assert commit(installed) is None
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert commit(checkout) is None


def test_a_repository_named_by_the_environment_is_not_the_package_s(checkout, monkeypatch):
    recorded = commit(checkout)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert commit(checkout) == recorded


def test_versions_and_device():
    present = environment()
    assert present["eqssl_jax"] == __version__
    assert present["packages"]["jax"] == jax.__version__
    assert present["packages"]["numpy"] == np.__version__
    assert present["device"]["kind"] == jax.devices()[0].device_kind
    assert present["device"]["count"] == jax.device_count()
    assert present["command"] is None  # pytest is none of our binaries
    assert json.loads(json.dumps(present)) == present


def test_every_start_is_recorded_and_what_saved_nothing_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "environment", lambda: {"python": "3"})
    for step in (0, 4, 4, 8):
        record_environment(tmp_path, step=step, steps=12)
    assert [start["from_step"] for start in read_environment(tmp_path)] == [0, 4, 8]
    assert read_environment(tmp_path)[0] == {"from_step": 0, "steps": 12, "python": "3"}
    record_environment(tmp_path, step=0, steps=12)  # from the beginning
    assert [start["from_step"] for start in read_environment(tmp_path)] == [0]
    assert [path.name for path in tmp_path.iterdir()] == ["environment.json"]


@pytest.mark.parametrize("text", ["{", "{}", "[1]", "\xff"])
def test_a_damaged_record_is_none_and_may_be_written_over(tmp_path, text):
    (tmp_path / "environment.json").write_text(text, encoding="latin-1")
    assert read_environment(tmp_path) == []
    record_environment(tmp_path, step=3, steps=4)
    assert len(read_environment(tmp_path)) == 1


def test_the_command_as_it_was_started():
    program = (
        "import sys; sys.argv = ['x', '--workdir=a b'];"
        "import eqssl_jax.training.environment as e;"
        "sys.modules['__main__'].__spec__ = type('S', (), {'name': 'eqssl_jax.main'});"
        "print(e._command())"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert process.stdout.strip() == "python -m eqssl_jax.main '--workdir=a b'", process.stderr
