"""benchmarks/gpu.py: parts that are there are not run again, time is kept, the table is written."""

import argparse
import json
import os
import pathlib
import sys
import time

import gpu
import pytest

from eqssl_jax.measures.budget import settings
from eqssl_jax.overrides import mistake, parse_options

ARGUMENTS = dict(
    data="cifar10.npz", seconds=300.0, share=0.6, encoders=["resnet18"], batch=8, splits=2, size=32,
    repeats=1, epochs=1, save_every=5,
)  # fmt: skip


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
    assert "| resnet18_bfloat16_jax | 1,234 | 1,234 | 1,234 | that |" in text
    assert "| resnet18_float32_torch | not measured |" in text
    assert "| simclr | 5 | 0.25 | 4.5 | 0.832 | 0.856 |" in text
    assert "| care | 5 | 0.25 | 4.5 | — | — |" in text
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


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_part_that_takes_too_long_is_asked_to_stop(tmp_path):
    saves = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(75)); time.sleep(60)"
    start = time.monotonic()
    assert gpu.run([sys.executable, "-c", saves], tmp_path / "log", 1.5) in (75, -15)
    assert time.monotonic() - start < 30
