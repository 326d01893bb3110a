"""The package as others install it: its command, its configs from anywhere, its wheel."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import eqssl_jax
from eqssl_jax import __main__ as eqssl
from eqssl_jax import command, shipped
from eqssl_jax.data import structures, tfds

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["configs", "launch"])
def test_what_is_shipped_is_found_in_a_checkout_and_in_a_wheel(name, tmp_path, monkeypatch):
    assert shipped.folder(name) == ROOT / name
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "eqssl_jax" / "shipped.py"))
    assert shipped.folder(name) == tmp_path / name
    (tmp_path / "eqssl_jax" / name).mkdir(parents=True)
    assert shipped.folder(name) == tmp_path / "eqssl_jax" / name


def test_a_short_name_is_a_config_of_the_package_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    care = str(ROOT / "configs" / "care.py")
    assert shipped.config_file("care") == care
    assert shipped.config_file("care:cifar10,authors") == f"{care}:cifar10,authors"
    for path in ("configs/care.py:shapes", "./care", "care.py", "", "/tmp/care.py:a"):
        assert shipped.config_file(path) == path
    (tmp_path / "care").write_text("")  # a file here is meant before a name
    assert shipped.config_file("care:x") == "care:x"
    with pytest.raises(ValueError, match=r"no config 'car' .*did you mean 'care'.*own.*path"):
        shipped.config_file("car:cifar10")
    assert "--config=care" in shipped.advice(Path("configs/care.py"))


def test_the_flag_takes_short_names_and_says_what_else_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = "import sys; from eqssl_jax import command; flag = command.planned()[0];"
    shown = "command.parsed(sys.argv); print(flag.value.data.name, flag.value.seed)"
    ended = subprocess.run(
        [sys.executable, "-c", started + shown, "--config", "simclr:shapes", "--config.seed=7"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout.split() == ["shapes", "7"]
    path = "--config=configs/simclr.py:shapes"
    assert "package is --config=simclr" in command._unread(["train", path])


def test_every_binary_is_a_command(capsys):
    binaries = {
        path.stem for path in (ROOT / "eqssl_jax").glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text() and path.stem != "__main__"
    }  # fmt: skip
    assert {module for module, _ in eqssl.COMMANDS.values()} == binaries
    eqssl.main([])
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in eqssl.COMMANDS)
    eqssl.main(["--version"])
    assert capsys.readouterr().out.strip() == eqssl_jax.__version__
    for wrong in (["trian"], ["launch", "rocket"]):
        with pytest.raises(SystemExit, match="2"):
            eqssl.main(wrong)
        assert wrong[-1] in capsys.readouterr().err


def test_a_command_is_the_module_and_a_launcher_the_script():
    def started(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "eqssl_jax", *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    ended = started("train", "--config=simclr:shapes")
    assert ended.returncode == 1 and "--workdir is needed" in ended.stdout + ended.stderr
    shown = started("launch", "local_processes", "2", "--dry_run", "--", "eqssl", "train")
    assert shown.stdout.count("eqssl train --coordinator=127.0.0.1:") == 2


@pytest.mark.parametrize(
    ("absent", "call", "extra"),
    [
        ("tensorflow_datasets", lambda: tfds.read_tfds("cifar10", None, size=None, corrupt="x"),
         "config.data.name is 'cifar10'.*eqssl_jax\\[tfds\\]"),
        ("gemmi", lambda: structures.read_structure(Path("a.pdb"), "a"), "eqssl_jax\\[proteins\\]"),
    ],
)  # fmt: skip
def test_without_an_extra_one_paragraph_names_it(absent, call, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(ValueError, match=extra) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_the_version_stands_in_one_place():
    text = (ROOT / "CITATION.cff").read_text()
    assert f"version: {eqssl_jax.__version__}" in text
    assert f"## {eqssl_jax.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert not re.search(r'version="', (ROOT / "setup.py").read_text())


@pytest.mark.slow
def test_a_wheel_holds_configs_and_launchers_and_runs_from_anywhere(tmp_path):
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{ROOT}", str(source)], check=True)
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)],
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        opened.extractall(tmp_path / "site")
    for kind in ("configs", "launch"):
        files = {path.name for path in (ROOT / kind).iterdir() if path.is_file()}
        assert {f"eqssl_jax/{kind}/{name}" for name in files} <= names
    assert {"eqssl_jax/py.typed", "eqssl_jax/page/page.css"} <= names
    assert wheel.stat().st_size < 2_000_000
    program = "from eqssl_jax.__main__ import main; main(['train', '--config=order:shapes'])"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert "--workdir is needed" in ended.stdout + ended.stderr, ended.stderr


def test_an_error_does_not_steer_the_terminal(capsys):
    command._complain("there is no \x1b[31mred\x07 folder\nhere")
    assert capsys.readouterr().err == "\nError: there is no \\x1b[31mred\\x07 folder here\n"
