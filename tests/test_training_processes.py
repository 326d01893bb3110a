"""One program on any number of devices and processes: the same numbers, and agreement on the rest.

Processes here are real ones, connected over loopback; their devices are virtual CPU devices.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_methods
import warm
from tiny_loop import small
from tiny_methods import METHODS

from eqssl_jax.training import ownership, processes
from eqssl_jax.training.processes import Cluster

ROOT = Path(__file__).parent.parent
# float32, 20 steps: sums of another order, through BatchNorm. Losses to 1e-5, arrays to 1e-4.
LOSSES = {"rtol": 1e-5, "atol": 2e-5}
ARRAYS = {"rtol": 1e-4, "atol": 1e-5}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(arguments, devices=2):
    """A process of several; `arguments` follow the interpreter."""
    # Compiled as the tests are, with whose arrays those of this process are compared.
    flags = f"--xla_force_host_platform_device_count={devices} {warm.QUICK}"
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": paths},
    )  # fmt: skip


@contextlib.contextmanager
def together(commands, devices=2):
    """Several processes, none of which outlives the test."""
    running = [started(arguments, devices) for arguments in commands]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def close(computed, wanted, *, losses=LOSSES, arrays=ARRAYS) -> None:
    assert set(computed) == set(wanted)
    for name, value in wanted.items():
        tolerance = losses if name.startswith("metrics.") else arrays
        if name == "metrics.gradient_norm":  # jumps where rounding moves a ReLU over its edge
            tolerance = {"rtol": max(1e-3, arrays["rtol"])}
        np.testing.assert_allclose(computed[name], value, err_msg=name, **tolerance)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes of two devices each make of every method."""
    file = tmp_path_factory.mktemp("two") / "found.npz"
    address = f"127.0.0.1:{free_port()}"
    commands = [[ROOT / "tests" / "tiny_methods.py", address, 2, i, file] for i in range(2)]
    with together(commands) as running:
        outputs = [process.communicate(timeout=900)[0] for process in running]
        assert [process.returncode for process in running] == [0, 0], outputs
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.slow
@pytest.mark.parametrize("names", METHODS, ids="+".join)
def test_twenty_steps_are_the_same_on_any_devices_and_processes(names, two_processes):
    single = tiny_methods.train(names, devices=1)
    assert {"byol", "moco"}.isdisjoint(names) or any(name.startswith("target") for name in single)
    for devices in (2, 8):
        close(tiny_methods.train(names, devices=devices), single)
    close(of(two_processes, "+".join(names)), single)


def of(arrays, label):
    return {k.removeprefix(f"{label}/"): v for k, v in arrays.items() if k.startswith(f"{label}/")}


@pytest.mark.slow
def test_so_are_steps_in_one_program_and_in_bfloat16(two_processes):
    single = tiny_methods.train(METHODS[0], devices=1)
    close(of(two_processes, "looped"), single)
    # bfloat16 has 8 bits: products differ by 0.4 %, and what 20 steps make of them by a few times
    # that (1.3 % were seen in one loss).
    rough = {"losses": {"rtol": 3e-2}, "arrays": {"rtol": 5e-2, "atol": 5e-3}}
    half = tiny_methods.train(METHODS[0], devices=1, dtype="bfloat16")
    assert not np.array_equal(half["metrics.loss"], single["metrics.loss"])
    close(tiny_methods.train(METHODS[0], devices=8, dtype="bfloat16"), half, **rough)
    close(of(two_processes, "bfloat16"), half, **rough)


@pytest.mark.slow
def test_processes_of_different_configs_are_told_what_differs(tmp_path):
    """On every process: the key, and the value of each."""
    address = f"127.0.0.1:{free_port()}"
    common = [
        "-m", "eqssl_jax.main", "--config=configs/care.py:shapes", f"--workdir={tmp_path / 'run'}",
        "--config.data.options.train_size=64", f"--coordinator={address}", "--processes=2",
        "--config.train.batch_size=32", "--config.model.encoder=conv_tiny",
    ]  # fmt: skip
    rates = (0.001, 0.002)
    commands = [
        [*common, f"--process={i}", f"--config.optimizer.learning_rate={rate}"]
        for i, rate in enumerate(rates)
    ]
    with together(commands) as running:
        for process in running:
            output = " ".join(process.communicate(timeout=300)[0].split())
            assert process.returncode == 1, output
            assert "config.optimizer.learning_rate: 0.001 in process 0, 0.002 in proc" in output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_without_the_others_it_ends_with_advice(tmp_path, process):
    """Process 0 waits for the others, and they for it, as long as --coordinator_timeout says."""
    command = [
        "-m", "eqssl_jax.main", "--config=configs/care.py:shapes", f"--workdir={tmp_path}",
        f"--coordinator=127.0.0.1:{free_port()}", "--processes=2", f"--process={process}",
        "--coordinator_timeout=2",
    ]  # fmt: skip
    with together([command]) as [running]:
        output = " ".join(running.communicate(timeout=60)[0].split())
    assert running.returncode == 1
    assert "did not come together within 2 seconds" in output
    assert "--coordinator is the address of process 0" in output
    assert "Traceback" not in output


@pytest.mark.long
def test_a_pod_on_this_machine_as_the_readme_starts_it(tmp_path):
    """launch/local_processes.sh with the real program; one workdir, written by process 0."""
    command = [
        ROOT / "launch" / "local_processes.sh", "2", "--devices=2", f"--logs={tmp_path / 'logs'}",
        "--", sys.executable, "-m", "eqssl_jax.main", "--config=configs/care.py:shapes",
        f"--workdir={tmp_path / 'run'}", "--config.train.steps=2", "--config.train.batch_size=32",
        "--config.optimizer.warmup_epochs=0",
        "--config.data.options.train_size=128", "--config.data.options.test_size=16",
        "--config.model.encoder=conv_tiny", "--config.knn.bank=32", "--config.knn.queries=16",
    ]  # fmt: skip
    flags = {"XLA_FLAGS": warm.QUICK}
    ended = subprocess.run(
        list(map(str, command)), cwd=ROOT, env={**os.environ, **flags}, timeout=600, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "run" / "checkpoints" / "2").is_dir()
    [start] = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert start["device"]["count"] == 4
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 2


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (Cluster(processes=2, process=0), "need --coordinator=HOST:PORT"),
        (Cluster("host", 2, 0), "'host'; give the address"),
        (Cluster("host:80", 2, 2), "from 0 to one less"),
        (Cluster("host:80", 2), "which one this is"),
        (Cluster("host:80", 2, 0, 0), "at least 1 second"),
    ],
)
def test_flags_that_do_not_belong_together(cluster, message):
    with pytest.raises(ValueError, match=message):
        processes.join(cluster)


def test_one_process_needs_nothing(monkeypatch):
    for variable in ("SLURM_NTASKS", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(variable, raising=False)
    processes.join()
    processes.join(Cluster("127.0.0.1:1", 1, 0))  # nobody is waited for
    assert processes.gathered("alone") == ["alone"]
    assert processes.first()
    processes.check_equal({"config": {"seed": 0}})
    with pytest.raises(ValueError, match="here"), processes.leaving():
        processes.together(lambda: (_ for _ in ()).throw(ValueError("here")))


def test_differences_and_failures_of_others_are_named(monkeypatch):
    monkeypatch.setattr(processes.jax, "process_count", lambda: 3)
    others = [{"config": {"seed": 0}}, {"config": {"seed": 0}}, {"config": {"seed": 4}}]
    monkeypatch.setattr(
        processes, "gathered", lambda text: [json.dumps(settings) for settings in others]
    )
    with pytest.raises(ValueError, match=r"config.seed: 0 in process 0, 4 in process 2"):
        processes.check_equal(others[0])
    monkeypatch.setattr(processes, "gathered", lambda text: [text, "no disk", ""])
    with pytest.raises(OSError, match="Process 1 of 3 cannot go on: no disk"):
        processes.together(lambda: 1)
    monkeypatch.setattr(processes, "gathered", lambda text: [text, "", ""])
    assert processes.together(lambda: 1) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("a setting"), 1), (OSError("a disk"), 1), (TypeError("a mistake"), 1),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: memory"), 1),
        (jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: reset by peer"), 75),
        (processes.LostError("barrier timed out"), 75),
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"), 75),
    ],
    ids=str,
)  # fmt: skip
def test_how_a_process_of_several_ends(error, status, monkeypatch, capsys):
    def left(code):
        raise SystemExit(code)

    monkeypatch.setattr(processes.jax, "process_count", lambda: 2)
    monkeypatch.setattr(processes.os, "_exit", left)
    with pytest.raises(SystemExit) as ended, processes.leaving():
        raise error
    assert ended.value.code == status
    printed = capsys.readouterr().err
    assert str(error) in printed
    assert ("Start all processes again" in printed) == (status == 75)


def test_what_must_be_alike_holds_config_code_and_data(tmp_path):
    facts = ownership.facts(small())
    assert facts["config"]["seed"] == 0
    assert facts["code"] == processes.code_digest()
    other = small()
    labels = {name: split._replace(labels=split.labels[::-1].copy())
              for name, split in other.dataset.splits.items()}  # fmt: skip
    changed = ownership.facts(other._replace(dataset=other.dataset._replace(splits=labels)))
    assert changed["data"] != facts["data"]
    (tmp_path / "a.py").write_text("x = 1")
    before = processes.code_digest(tmp_path)
    (tmp_path / "a.py").write_text("x = 2")
    assert processes.code_digest(tmp_path) != before


def test_a_slurm_step_of_several_is_detected(monkeypatch):
    monkeypatch.setattr(processes.glob, "glob", lambda pattern: [])
    assert not processes._detected()
    for name, value in {"NTASKS": "4", "STEP_NODELIST": "node[1-2]", "PROCID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert processes._detected()
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert not processes._detected()
