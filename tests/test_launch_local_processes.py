"""launch/local_processes.sh with real processes that need no jax."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "launch" / "local_processes.sh"
# A process of a run: says what it got, then waits for SIGTERM and ends with 75, as main does.
PATIENT = """
import os, signal, sys, time
def stop(number, frame):
    print("stopping on", signal.Signals(number).name, flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("pid", os.getpid(), flush=True)
time.sleep(60)
"""


def launch(*arguments, **keywords):
    return subprocess.run(
        [SCRIPT, *map(str, arguments)],
        capture_output=True, text=True, timeout=30, check=False, **keywords,
    )  # fmt: skip


def python(program):
    return ["--", sys.executable, "-c", program]


def begin(*arguments):
    return subprocess.Popen(
        [SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def pids_in(logs, count):
    """The process ids that `count` processes printed, once all have."""
    for _ in range(100):
        texts = [path.read_text() for path in logs.glob("process-*.log")]
        pids = [int(text.split()[1]) for text in texts if text.startswith("pid") and "\n" in text]
        if len(pids) == count:
            return pids
        time.sleep(0.05)
    raise AssertionError(f"{count} processes did not start: {texts}")


def gone(pid):
    """Whether a process ended; a zombie that nobody waited for has ended too."""
    for _ in range(40):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_each_process_gets_its_flags_and_devices(tmp_path):
    shown = "import os, sys; print(*sys.argv[1:], os.environ['XLA_FLAGS'], sep='|')"
    ended = launch(
        3, "--devices=2", f"--logs={tmp_path}", "--coordinator_timeout=7", *python(shown),
        "--config=a b", env={**os.environ, "XLA_FLAGS": "--xla_foo=1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    ports = set()
    for i in range(3):
        line = (tmp_path / f"process-{i}.log").read_text().strip()
        assert f"[{i}] {line}" in ended.stdout.splitlines()
        config, coordinator, *others = line.split("|")
        assert config == "--config=a b"
        host, port = coordinator.split(":")
        assert host == "--coordinator=127.0.0.1"
        ports.add(port)
        assert others == [
            "--processes=3", f"--process={i}", "--coordinator_timeout=7",
            "--xla_foo=1 --xla_force_host_platform_device_count=2",
        ]  # fmt: skip
    assert len(ports) == 1


def test_a_dry_run_starts_nothing(tmp_path):
    ended = launch(2, "--port=5", "--dry_run", "--", "touch", tmp_path / "it is")
    assert ended.returncode == 0
    first, second = ended.stdout.splitlines()
    assert first.endswith(
        f"touch '{tmp_path}/it is' --coordinator=127.0.0.1:5 --processes=2 --process=0 "
        "--coordinator_timeout=60"
    )
    assert second == first.replace("--process=0", "--process=1")
    assert not list(tmp_path.iterdir())


def test_one_killed_process_stops_the_others_in_time(tmp_path):
    running = begin(3, f"--logs={tmp_path}", "--grace=1", *python(PATIENT))
    pids = pids_in(tmp_path, 3)
    os.kill(pids[1], signal.SIGKILL)
    _, errors = running.communicate(timeout=20)
    assert running.returncode == 128 + signal.SIGKILL
    assert all(gone(pid) for pid in pids)
    assert "ended with status 137" in errors
    texts = [path.read_text() for path in tmp_path.glob("*.log")]
    assert sum("SIGTERM" in text for text in texts) == 2


def test_what_does_not_stop_is_killed_with_its_children(tmp_path):
    """Process 0 fails; process 1 and its child ignore SIGTERM."""
    program = (
        "import os, signal, subprocess, sys, time\n"
        "if '--process=0' in sys.argv: time.sleep(.3); sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {PATIENT.replace('SIGTERM', 'SIGUSR1')!r}])\n"
        "time.sleep(60)"
    )
    running = begin(2, f"--logs={tmp_path}", "--grace=1", *python(program))
    (child,) = pids_in(tmp_path, 1)
    running.communicate(timeout=20)
    assert running.returncode == 3
    assert gone(child)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_stops_all_and_75_comes_back(tmp_path, name):
    """Ctrl-C as well: the processes of a run save on SIGTERM."""
    running = begin(2, f"--logs={tmp_path}", *python(PATIENT))
    pids = pids_in(tmp_path, 2)
    running.send_signal(getattr(signal, name))
    running.communicate(timeout=20)
    assert running.returncode == 75
    assert all(gone(pid) for pid in pids)
    for path in tmp_path.glob("*.log"):
        assert "stopping on SIGTERM" in path.read_text()


def test_a_second_signal_kills(tmp_path):
    stubborn = PATIENT.replace("sys.exit(75)", "pass").replace("60", "30); time.sleep(30")
    running = begin(2, f"--logs={tmp_path}", *python(stubborn))
    pids = pids_in(tmp_path, 2)
    for _ in range(2):
        running.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    running.communicate(timeout=10)
    assert running.returncode == 137
    assert all(gone(pid) for pid in pids)


def test_no_process_outlives_a_killed_launcher(tmp_path):
    if subprocess.run(["sh", "-c", "command -v setpriv"], capture_output=True).returncode:
        pytest.skip("setpriv (util-linux) is not installed, without it nothing can tell them")
    running = begin(2, f"--logs={tmp_path}", *python(PATIENT))
    pids = pids_in(tmp_path, 2)
    running.kill()
    running.communicate(timeout=10)
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [((75, 75), 75), ((0, 4), 4), ((75, 1), 1), ((1, 75), 1), ((0, 0), 0)],
)
def test_the_status_is_that_of_the_first_failure(tmp_path, statuses, expected):
    """Whoever ends first: 75 never hides an error beside it."""
    program = (
        f"import sys, time; i = int(sys.argv[3][-1]); time.sleep(i / 3); sys.exit({statuses}[i])"
    )
    assert launch(2, f"--logs={tmp_path}", *python(program)).returncode == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--", "true"], "number of processes is missing"),
        (["2"], "command is missing"),
        (["2", "--devices=none", "--", "true"], "--devices=none is no whole number"),
        (["0", "--", "true"], "at least 1"),
        (["2", "--device=2", "--", "true"], "--device=2 is not known"),
    ],
)
def test_mistakes_are_named(arguments, message):
    ended = launch(*arguments)
    assert ended.returncode == 2
    assert message in ended.stderr.replace("\n", " ")
