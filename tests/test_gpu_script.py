"""benchmarks/gpu.py: parts that are there are not run again, time is kept, the table is written."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import gpu
import numpy as np
import pytest

from eqssl_jax.measures.budget import settings
from eqssl_jax.overrides import mistake, parse_options

ARGUMENTS = dict(
    data="cifar10.npz", seconds=300.0, share=0.6, encoders=["resnet18"], batch=8, splits=2, size=32,
    repeats=1, epochs=1, save_every=5, eager=False,
)  # fmt: skip


START = {
    "device": {"kind": "H200", "platform": "gpu", "count": 1}, "eqssl_jax": "0.2.0",
    "packages": dict.fromkeys(("jax", "flax", "optax", "orbax-checkpoint"), "9.9"),
    "commit": {"hash": "0123456789", "changed": True},
}  # fmt: skip


def test_a_second_call_goes_on_and_the_table_holds_what_there_is(tmp_path, monkeypatch):
    args = argparse.Namespace(**ARGUMENTS, out=str(tmp_path))
    commands = []

    def run(command, log, limit):
        commands.append((command, limit))
        words = dict(word[2:].split("=", 1) for word in command if word.startswith("--"))
        if "json" in words and "torch" not in words["json"]:
            numbers = dict.fromkeys(gpu.SPEEDS, 1234.0) | dict.fromkeys(gpu.FACTS, "that")
            with open(words["json"], "w") as file:
                json.dump(numbers, file)
        if "workdir" in words:
            os.makedirs(words["workdir"], exist_ok=True)
            lines = [{"step": 5, "loss": 4.5}, {"step": 5, "validation_knn": 0.25}]
            with open(f"{words['workdir']}/metrics.jsonl", "w") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
            with open(f"{words['workdir']}/environment.json", "w") as file:
                json.dump([START], file)
        if "eqssl_jax.eval" in command:
            os.makedirs(f"{words['workdir']}/eval")
            trained = {"knn": {"value": 0.832}, "probe_top1": {"value": 0.856}}
            with open(f"{words['workdir']}/eval/5.json", "w") as file:
                json.dump({"encoders": {"trained": trained}}, file)
        return 75 if words.get("workdir", "").endswith("care") else 0

    monkeypatch.setattr(gpu, "run", run)
    gpu.everything(args)
    assert len(commands) == 4 + 2 + 1  # of CARE, which was stopped, there is nothing to evaluate
    assert max(limit for _, limit in commands) <= 300 - gpu.MARGIN
    text = (tmp_path / "README.md").read_text()
    assert "| resnet18_bfloat16_jax | 1,234 | 1,234 | 1,234 | that | that | that |" in text
    assert "| resnet18_float32_torch | not measured |" in text
    versions = "jax 9.9, flax 9.9, optax 9.9, orbax-checkpoint 9.9, eqssl_jax 0.2.0"
    where = f"| 1 × H200 (gpu) | {versions} | 0123456-dirty |"
    assert f"| simclr | 5 | 0.25 | 4.5 | 0.832 | 0.856 {where}" in text, text
    assert f"| care | 5 | 0.25 | 4.5 | — | — {where}" in text
    commands.clear()
    gpu.everything(args)
    assert len(commands) == 2 + 2  # PyTorch left nothing: measured again; SimCLR is evaluated


def test_its_commands_have_flags_and_settings_that_there_are(tmp_path):
    args = argparse.Namespace(**ARGUMENTS, out=str(tmp_path))
    for command in gpu.trainings(args).values():
        assert mistake(command) is None
    for command in gpu.throughputs(args).values():
        source = pathlib.Path(command[1]).read_text()
        for word in command[2:]:
            assert f'"{word.partition("=")[0]}"' in source, word
    budget = parse_options([w.split("=", 1)[1] for w in gpu.evaluations(args)["care"][3:-1]])
    assert settings(**budget).test_images is None


def test_what_is_missing_is_said_before_anything_runs(tmp_path, monkeypatch):
    data = tmp_path / "some.npz"
    args = argparse.Namespace(**{**ARGUMENTS, "data": str(data)}, out=str(tmp_path))
    np.savez(data, train_images=np.zeros(1), train_labels=np.zeros(1))
    monkeypatch.setattr(gpu, "NEEDED", {"jax": "jax"})  # PyTorch may be absent here
    with pytest.raises(SystemExit, match="lacks test_images, test_labels: give"):
        gpu.check(args)
    data.write_bytes(b"no numbers")
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"some\.npz lacks a readable file"):
            gpu.check(args)
        data.unlink(missing_ok=True)
    monkeypatch.setitem(gpu.NEEDED, "no.such_module", "no-such")
    monkeypatch.setitem(gpu.NEEDED, "eqssl_jax.nor_this", "nor-this")
    with pytest.raises(SystemExit, match="lacks no-such, nor-this: pip install no-such") as error:
        gpu.check(args)
    assert "\n" not in str(error.value) and "-d wheels no-such nor-this" in str(error.value)


def test_seconds_are_summed_over_calls_and_a_training_counts_its_evaluation(tmp_path):
    for part in ("simclr", "care", "simclr", "simclr_test"):
        gpu.run([sys.executable, "-c", ""], tmp_path / f"{part}.log", 60)
    lines = [json.loads(line) for line in (tmp_path / "parts.jsonl").read_text().splitlines()]
    assert [line["part"] for line in lines] == ["simclr", "care", "simclr", "simclr_test"]
    assert all(line["status"] == 0 and 0 < line["cpu_s"] < 60 for line in lines)
    (tmp_path / "parts.jsonl").write_text(
        "".join(json.dumps({**line, "wall_s": 100.0, "cpu_s": 7.0}) + "\n" for line in lines)
    )
    assert gpu._taken(tmp_path) == {"simclr": ("300", "21"), "care": ("100", "7")}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_part_that_takes_too_long_is_asked_to_stop(tmp_path):
    saves = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(75)); time.sleep(60)"
    start = time.monotonic()
    assert gpu.run([sys.executable, "-c", saves], tmp_path / "log", 1.5) in (75, -15)
    assert time.monotonic() - start < 30


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_part_does_not_outlive_the_script(tmp_path):
    started = tmp_path / "started"
    part = (
        f"import os, time; open({str(started)!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(60)"
    )
    script = (
        "import pathlib, signal, sys, gpu; signal.signal(15, lambda *_: sys.exit(143));"
        f"gpu.run([sys.executable, '-c', {part!r}], pathlib.Path({str(tmp_path / 'log')!r}), 60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=pathlib.Path(gpu.__file__).parent
    )
    while process.poll() is None and not (started.exists() and started.read_text()):
        time.sleep(0.05)
    process.terminate()
    assert process.wait() == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
    [line] = (tmp_path / "parts.jsonl").read_text().splitlines()
    assert json.loads(line)["status"] == -signal.SIGTERM
