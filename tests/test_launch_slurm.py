"""launch/slurm.sh and launch/slurm.sbatch with stand-ins that run the job on this machine."""

import signal
import subprocess
import time

import pytest
from stand_ins import ROOT, StandIns

# Runs the job at once, and again whenever it was requeued, with what the tasks may look at.
SBATCH = r"""
while [[ $1 == --* ]]; do shift; done
export SLURM_JOB_ID=17 SLURM_NTASKS=2 SLURM_CPUS_PER_TASK=3 SLURM_RESTART_COUNT=0
while :; do
    rm -f "$here/requeued"
    ended=0
    bash "$@" || ended=$?
    [[ -e $here/requeued ]] || exit "$ended"
    SLURM_RESTART_COUNT=$((SLURM_RESTART_COUNT + 1))
done
"""
# Every task at once; the highest status of all.
SRUN = r"""
while [[ $1 == --* ]]; do shift; done
highest=0 tasks=()
for ((i = 0; i < SLURM_NTASKS; i++)); do SLURM_PROCID=$i "$@" & tasks+=($!); done
for task in "${tasks[@]}"; do
    ended=0
    wait "$task" || ended=$?
    ((ended <= highest)) || highest=$ended
done
exit "$highest"
"""
SCONTROL = 'touch "$here/requeued"'


@pytest.fixture
def cluster(tmp_path):
    return StandIns(tmp_path, sbatch=SBATCH, srun=SRUN, scontrol=SCONTROL)


def submit(cluster, program, *flags, variables=()):
    return cluster.run("slurm.sh", *flags, "--", "bash", "-c", program, variables=variables)


def test_a_dry_run_prints_the_submission(cluster):
    shown = cluster.run(
        "slurm.sh", "--nodes=2", "--gpus=8", "--time=1:00:00", "--dry_run",
        "--", "python", "-m", "eqssl_jax.main", "--config=a b.py",
    )  # fmt: skip
    assert shown.stdout == (
        "sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 --time=1:00:00 "
        f"{ROOT}/launch/slurm.sbatch python -m eqssl_jax.main '--config=a b.py'\n"
    )
    job = subprocess.run(
        [ROOT / "launch" / "slurm.sbatch", "--dry_run", "python", "x.py"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert job.stdout.split() == ["srun", "--kill-on-bad-exit=0", "--label", "python", "x.py"]
    assert cluster.calls() == []


def test_without_gpus_there_is_one_task_a_node(cluster):
    shown = cluster.run("slurm.sh", "--nodes=3", "--gpus=0", "--dry_run", "--", "true")
    assert shown.stdout.startswith("sbatch --nodes=3 --ntasks-per-node=1 /")


def test_every_task_runs_the_command_with_the_cores_asked_for(cluster):
    program = 'echo "task $SLURM_PROCID of $SLURM_NTASKS, $SRUN_CPUS_PER_TASK cores"'
    done = submit(cluster, program)
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == [f"task {i} of 2, 3 cores" for i in range(2)]


@pytest.mark.parametrize("first", ["exit 75", "kill -9 $$"])
def test_what_saved_or_was_killed_is_requeued_and_goes_on(cluster, first):
    """The second task fails until the job has been started three times."""
    program = f"((SLURM_PROCID == 0 || SLURM_RESTART_COUNT == 2)) && exit 0; {first}"
    done = submit(cluster, program)
    assert done.returncode == 0, done.stderr
    assert [call[0] for call in cluster.calls()] == [
        "sbatch", "srun", "scontrol", "srun", "scontrol", "srun",
    ]  # fmt: skip
    assert cluster.calls()[2] == ["scontrol", "requeue", "17"]


@pytest.mark.parametrize("status", [1, 2])
def test_an_error_is_not_requeued(cluster, status):
    done = submit(cluster, f"exit {status}")
    assert done.returncode == status
    assert [call[0] for call in cluster.calls()] == ["sbatch", "srun"]


def test_restarts_are_bounded(cluster):
    done = submit(cluster, "exit 75", variables={"EQSSL_JAX_RETRIES": "2"})
    assert done.returncode == 75
    assert [call[0] for call in cluster.calls()].count("scontrol") == 2
    assert "not requeued" in done.stderr


def test_a_cancelled_job_is_not_requeued(cluster, tmp_path):
    """scancel sends SIGTERM to the tasks, which save, and to the shell of the job."""
    program = (
        f"trap 'exit 75' TERM; echo $$ >>{tmp_path}/tasks; for i in $(seq 600); do sleep 0.05; done"
    )
    job = subprocess.Popen(
        [ROOT / "launch" / "slurm.sbatch", "bash", "-c", program],
        env={"PATH": f"{cluster.bin}:/usr/bin:/bin", "SLURM_JOB_ID": "17", "SLURM_NTASKS": "2"},
    )
    tasks = tmp_path / "tasks"
    while not (tasks.exists() and tasks.read_text().count("\n") == 2):
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    subprocess.run(["kill", "-TERM", *tasks.read_text().split()], check=True)
    assert job.wait(timeout=20) == 75
    assert [call[0] for call in cluster.calls()] == ["srun"]


def test_the_script_asks_for_the_signal_and_for_requeueing():
    lines = (ROOT / "launch" / "slurm.sbatch").read_text().splitlines()
    options = [line.split()[1] for line in lines if line.startswith("#SBATCH")]
    assert "--requeue" in options
    assert "--signal=TERM@120" in options  # to the tasks; B: would send it to the shell alone
    assert "--open-mode=append" in options  # a restart keeps the log of the start before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "command is missing"),
        (["--gpus-per-task=1", "--", "true"], "hides the other GPUs"),
        (["--gpus=all", "--", "true"], "--gpus=all is no whole number"),
        (["python", "--", "true"], "python is not known here"),
    ],
)
def test_mistakes_are_named(cluster, arguments, message):
    done = cluster.run("slurm.sh", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert cluster.calls() == []
