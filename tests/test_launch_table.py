"""launch/table.sh with a stand-in for python that plays `-m eqssl_jax.tables`."""

import re
import signal
import subprocess
import time

import pytest
from stand_ins import ROOT, StandIns

# Two runs are missing, one with a blank in its name; `work` is what a call without --plan does.
TABLES = r"""
if [[ " $* " == *" --plan "* ]]; then
    echo "lambda_sweep, scale smoke: 2 runs to make, 1 finished."
    echo "python $* --only='CARE 0.1'" | sed 's/ --plan//'
    echo "  12 steps, 3e9 FLOPs: CPU 1 h"
    echo "python $* --only=SimCLR" | sed 's/ --plan//'
    exit 0
fi
echo "working on $CUDA_VISIBLE_DEVICES"
. "$here/work"
"""
SBATCH = 'echo "$(($(tr -cd "\\036" <"$here/calls" | wc -c) + 100));mars"'
ARGUMENTS = ["--table=lambda_sweep", "--scale=smoke"]


@pytest.fixture
def machine(tmp_path):
    stand_ins = StandIns(tmp_path, python=TABLES, sbatch=SBATCH)
    (tmp_path / "work").write_text("exit 0")
    return stand_ins


def table(machine, *arguments, **keywords):
    return machine.run(
        "table.sh", *ARGUMENTS, f"--runs={machine.folder}/runs", *arguments,
        variables={"CUDA_VISIBLE_DEVICES": "all"}, **keywords,
    )  # fmt: skip


def words(machine, *more):
    return ["-m", "eqssl_jax.tables", *ARGUMENTS, f"--runs={machine.folder}/runs", *more]


def test_local_processes_share_the_runs_and_the_last_call_makes_the_table(machine):
    done = table(machine, "--jobs=local:2", "--data=a b.npz")
    assert done.returncode == 0, done.stderr
    assert machine.calls() == [["python", *words(machine, "--data=a b.npz")]] * 3
    for i in range(2):
        assert (machine.folder / "runs" / "logs" / f"{i}.log").read_text() == "working on all\n"
    assert done.stdout.endswith("working on all\n")


def test_a_sweep_is_run_as_a_table_is(machine):
    sweep = ["--config=c.py", "--config.seed=1", f"--workdir={machine.folder}/r", "--over=a.b=1,2"]
    given = [*sweep[:-1], "--over", "a.b=1,2"]  # as python -m eqssl_jax.sweep takes it, too
    done = machine.run(
        "table.sh", *given, "--jobs=local:1", variables={"CUDA_VISIBLE_DEVICES": "all"}
    )
    assert done.returncode == 0, done.stderr
    assert machine.calls() == [["python", "-m", "eqssl_jax.sweep", *sweep]] * 2


@pytest.mark.parametrize(
    ("command", "more"), [("tables", ()), ("sweep", ("--config=x", "--workdir=x"))]
)
def test_every_flag_of_the_command_is_handed_on(machine, command, more):
    source = (ROOT / f"eqssl_jax/{command}.py").read_text()
    names = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source)) - {"plan"}  # it shows the jobs
    flags = [*more, *(f"--{name}=x" for name in sorted(names))]
    shown = machine.run("table.sh", *flags, "--dry_run")
    assert len(names) > 2 and shown.returncode == 0, shown.stderr
    assert all(flag in shown.stdout for flag in flags)


def test_each_local_process_may_have_a_gpu_of_its_own(machine):
    assert table(machine, "--jobs=local:2", "--one_gpu_each").returncode == 0
    for i in range(2):
        assert (machine.folder / "runs" / "logs" / f"{i}.log").read_text() == f"working on {i}\n"


def test_a_failed_process_is_named_and_the_last_call_decides(machine):
    first = 'mkdir "$here/failed" 2>/dev/null && exit 1; '
    (machine.folder / "work").write_text(first + "exit 0")
    done = table(machine, "--jobs=local:2")
    assert done.returncode == 0
    assert "ended with status 1" in done.stderr
    (machine.folder / "work").write_text("exit 1")
    assert table(machine, "--jobs=local:2").returncode == 1


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_stops_all_and_no_table_is_begun(machine, name):
    (machine.folder / "work").write_text(
        "trap 'exit 75' TERM; echo $$ >>$here/pids; for i in $(seq 600); do sleep 0.05; done"
    )
    running = subprocess.Popen(
        [ROOT / "launch" / "table.sh", *ARGUMENTS, f"--runs={machine.folder}", "--jobs=local:2"],
        env={"PATH": f"{machine.bin}:/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    pids = machine.folder / "pids"
    while not (pids.exists() and pids.read_text().count("\n") == 2):
        time.sleep(0.02)
    running.send_signal(getattr(signal, name))
    assert running.wait(timeout=20) == 75
    assert len(machine.calls()) == 2
    left = subprocess.run(["kill", "-0", *pids.read_text().split()], capture_output=True)
    assert left.returncode != 0


def test_slurm_gets_a_job_for_each_run_and_one_for_the_table_after_them(machine):
    done = table(machine, "--jobs=slurm", "--", "--partition=gpu", "--time=2:00:00")
    assert done.returncode == 0, done.stderr
    plan, *jobs = machine.calls()
    assert plan == ["python", *words(machine, "--plan")]
    flags = ["sbatch", "--nodes=1", "--ntasks-per-node=1", "--gpus-per-node=1"]
    given = ["--parsable", "--partition=gpu", "--time=2:00:00"]
    job = [f"{ROOT}/launch/slurm.sbatch", "python"]
    assert jobs == [
        [*flags, *given, *job, *words(machine, "--only=CARE 0.1")],
        [*flags, *given, *job, *words(machine, "--only=SimCLR")],
        [*flags, *given, "--dependency=afterany:102:103", *job, *words(machine)],
    ]


def test_a_dry_run_trains_and_submits_nothing(machine):
    shown = table(machine, "--jobs=local:2", "--dry_run")
    command = "python " + " ".join(words(machine))
    log = f"{machine.folder}/runs/logs"
    assert shown.stdout.splitlines() == [
        f"{command} >{log}/0.log &", f"{command} >{log}/1.log &", "wait", command,
    ]  # fmt: skip
    shown = table(machine, "--runs=gs://bucket/runs", "--dry_run")  # logs cannot grow there
    assert shown.stdout.splitlines()[0].endswith("--runs=gs://bucket/runs >logs/0.log &")
    assert machine.calls() == []
    shown = table(machine, "--jobs=slurm", "--dry_run")
    first, _, last = shown.stdout.splitlines()
    assert first.startswith("sbatch --nodes=1 ")
    assert first.endswith(" '--only=CARE 0.1'")
    assert "--dependency=afterany:ID" in last
    assert [call[-1] for call in machine.calls()] == ["--plan"]


def test_a_plan_that_fails_submits_nothing(machine):
    machine.add("python", "#!/bin/sh\necho 'Error: no such table' >&2\nexit 1\n")
    done = table(machine, "--jobs=slurm")
    assert done.returncode == 1
    assert "no such table" in done.stderr
    assert machine.calls() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs=x"], "--table=NAME is missing"),
        (["--table=x"], "--runs=DIR is missing"),
        (["--table=x", "--config=y"], "--table=x is a study and --config=y a sweep: give one"),
        (["--over"], "--over needs NAME=VALUE"),
        (["--table=x", "--runs=x", "--jobs=local:many"], "--jobs=local:=many is no whole number"),
        (["--table=x", "--runs=x", "--jobs=pbs"], "--jobs=pbs is neither"),
        (["--table=x", "--runs=x", "--partition=gpu"], "come after --"),
    ],
)
def test_mistakes_are_named(machine, arguments, message):
    done = machine.run("table.sh", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert machine.calls() == []
