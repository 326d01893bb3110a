"""Every command of README and docs names what there is: a binary, flags, a config, its settings.

A command that is mistyped or outlived by a change is found without running; a slow test runs the
first of README, a long one all of every page.
"""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from eqssl_jax import config as settings
from eqssl_jax import shipped
from eqssl_jax.__main__ import COMMANDS

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "docs"))

from commands import PAGES, blocks, commands, lines  # noqa: E402

FREE = ("roles", "role_weights", "sharing", "objectives", "options", "runs")  # named elsewhere


ALL = [pytest.param(line, id=f"{page.stem}: {line[:60]}") for page in PAGES
       for line in lines(page)]  # fmt: skip
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.ipynb"))


def test_readme_is_short_narrow_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 180
    assert max(map(len, text.splitlines())) <= 100
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def run_small(page: Path, *only: str) -> None:
    """Run commands of a page made small, all or those that begin so; each must have run well."""
    wanted = [
        command.text for command in commands([page])
        if not command.why and " ".join(command.words).startswith(only or "")
    ]  # fmt: skip
    words = [sys.executable, ROOT / "docs/commands.py", page.stem]
    words += ["--only", *only] if only else []
    done = subprocess.run(words, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.findall(r": ok, \d+ CPU s\n    (.*)", done.stdout)
    assert [text for text in ran if not text.startswith("(needed")] == wanted
    assert len(wanted) >= len(only)


@pytest.mark.slow
def test_the_first_commands_of_readme_run():
    run_small(PAGES[0], "measure", "train --config=care:folder", "python")


@pytest.mark.long
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem
)
def test_every_command_of_a_page_runs(page):
    run_small(page)


@pytest.mark.parametrize("line", ALL)
def test_a_command_names_what_there_is(line):
    words = shlex.split(line, comments=True)
    if words[0].startswith("launch/") or words[:2] == ["eqssl", "launch"]:
        name = Path(words[0]).stem if words[0].startswith("launch/") else words[2]
        assert (shipped.folder("launch") / f"{name}.sh").is_file(), name
        words = words[words.index("--") + 1 :] if "--" in words else []
        if not words:
            return
    if words[0] == "eqssl":
        assert words[1] in COMMANDS, words[1]
        module, flags = COMMANDS[words[1]][0], words[2:]
    elif words[:2] == ["python", "-m"] and words[2].startswith("eqssl_jax."):
        module, flags = words[2].removeprefix("eqssl_jax."), words[3:]
    else:
        return
    source = (ROOT / "eqssl_jax" / f"{module}.py").read_text()
    source += (ROOT / "eqssl_jax/command.py").read_text()
    for flag in flags:
        name = flag.split("=")[0].removeprefix("--")
        if flag.startswith("--") and not name.startswith("config"):
            assert f'"{name}"' in source, f"{module} has no flag --{name}"
    _check_config([flag for flag in flags if flag.startswith("--config")])


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_names_settings_that_there_are(path):
    cells = json.loads(path.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    flags = re.findall(r"--config[\w.]*=[^\s\"']+", code)
    assert flags or "measure(" in code
    _check_config(flags)


def _check_config(flags: list[str]) -> None:
    given = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
    if "config" not in given:
        return
    file, _, variant = shipped.config_file(given.pop("config")).partition(":")
    path = ROOT / file
    assert path.is_file(), file
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(variant) if variant else module.get_config()
    for name in given:
        place = config
        for key in name.split(".")[1:]:
            if place is config and key not in settings.SCHEMA:
                raise AssertionError(f"there is no setting {name}")
            if key in FREE:
                break
            assert key in place, f"{path.stem} has no setting {name}"
            place = place[key]
