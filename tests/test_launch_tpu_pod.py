"""launch/tpu_pod.sh with a stand-in for gcloud whose two workers are folders of this machine."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from stand_ins import ROOT, StandIns, small_checkout

# The state of the slice is in files: `queue` and `node`. A worker is a folder, its home; what is
# deleted is gone with its processes. `after_create` is the state of a new node.
GCLOUD = r"""
case $3 in tpu-vm) state=$here/node ;; *) state=$here/queue ;; esac
case $4 in
    create)
        if [[ -e $here/full ]]; then rm "$here/full"; echo "ERROR: no capacity" >&2; exit 1; fi
        mkdir "$here"/worker{0,1}
        [[ $3 == tpu-vm ]] || echo ACTIVE >"$here/queue"
        echo READY >"$here/node" ;;
    describe)
        [[ -e $state ]] || { echo "ERROR: NOT_FOUND: Resource was not found" >&2; exit 1; }
        cat "$state" ;;
    delete)
        for i in 0 1; do kill -9 "$(<"$here/worker$i/.eqssl_jax/pid")"; done 2>/dev/null
        rm -rf "$here"/worker{0,1} "$here/queue" "$here/node" ;;
    scp) for i in 0 1; do cp "$5" "$here/worker$i"; done ;;
    ssh)
        worker=$(flag worker) ended=0 PATH=$here/bin:/usr/bin:/bin
        for i in ${worker/all/0 1}; do
            (cd "$here/worker$i" && HOME=$PWD bash -c "$(flag command)") || ended=$?
        done
        exit "$ended" ;;
esac
"""
# uv makes an "environment" whose python is the program of the test.
UV = r"""
if [[ $1 == venv ]]; then
    mkdir -p "${!#}/bin"
    cp "$here/program" "${!#}/bin/python"
fi
"""
WAIT = "for i in $(seq 600); do sleep 0.05; done"  # what a trap can interrupt
SLICE = ["--name=pod", "--zone=mars-a", "--type=v5litepod-16", "--version=v2-alpha-tpuv5-lite"]
QUICK = ["--poll=0", "--backoff=0", "--grace=1", "--settled=1000"]
MAIN = ["--", "--config=configs/care.py:shapes", "--workdir=/mnt/a run"]


class Cloud(StandIns):
    def __init__(self, folder, program):
        super().__init__(folder, gcloud=GCLOUD, uv=UV)
        (folder / "program").write_text(
            f'#!/usr/bin/env bash\nhere={folder}\necho "$PWD $*" >>$here/starts\n{program}\n'
        )
        (folder / "program").chmod(0o755)
        self.checkout = small_checkout(folder / "checkout")

    def stop(self):
        """No process of a worker outlives its test."""
        for pid in self.folder.glob("worker*/.eqssl_jax/pid"):
            subprocess.run(["kill", "-9", pid.read_text().strip()], capture_output=True)

    def pod(self, *arguments):
        return self.run("tpu_pod.sh", *arguments, script_root=self.checkout)

    def verbs(self, *wanted):
        """What was asked of gcloud; of ssh, what the worker was told."""
        verbs_called = []
        for call in self.calls():
            if call[0] == "gcloud":
                commands = [word for word in call if "worker.sh" in word]
                verbs_called.append(
                    commands[0].split("worker.sh ")[-1].split()[0] if commands else call[4]
                )
        return [verb for verb in verbs_called if verb in wanted]

    def starts(self):
        path = self.folder / "starts"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def cloud_of(tmp_path):
    """A cloud whose workers run the given program in place of python."""
    made = []
    yield lambda program: made.append(Cloud(tmp_path, program)) or made[-1]
    for cloud in made:
        cloud.stop()


def test_a_dry_run_prints_the_way_from_nothing_and_calls_nothing(cloud_of):
    cloud = cloud_of("exit 0")
    shown = cloud.pod("watch", *SLICE, "--queued", "--spot", "--project=p", "--dry_run", *MAIN)
    assert shown.returncode == 0, shown.stderr
    assert cloud.calls() == []
    place = "--zone=mars-a --project=p --quiet"
    assert shown.stdout.startswith(
        "gcloud compute tpus queued-resources create pod --node-id=pod "
        "--runtime-version=v2-alpha-tpuv5-lite --accelerator-type=v5litepod-16 --spot "
        f"{place}\n# wait until it is ready\n"
    )
    assert "gcloud compute tpus tpu-vm ssh pod --worker=all '--command=bash" in shown.stdout
    assert "python -m eqssl_jax.main --config=configs/care.py:shapes" in shown.stdout
    for action, verb in (("create", "create"), ("delete", "delete"), ("logs", "ssh")):
        shown = cloud.pod(action, *SLICE, "--dry_run")
        assert shown.stdout.startswith(f"gcloud compute tpus tpu-vm {verb} pod "), shown.stderr
    assert cloud.calls() == []


def test_a_run_lies_in_a_bucket_unless_another_place_is_given(cloud_of):
    cloud = cloud_of("exit 0")
    for flags, main, place in (
        (["--bucket=my-runs"], [], "gs://my-runs/pod"),
        (["--bucket=gs://my-runs/"], [], "gs://my-runs/pod"),
        (["--bucket=my-runs"], ["--workdir=gs://b/other"], "gs://b/other"),
        (["--bucket=my-runs"], ["--workdir=/mnt/x"], "/mnt/x"),
    ):
        shown = cloud.pod("run", *SLICE, *flags, "--dry_run", "--", "--config=c.py", *main)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.count("--workdir=") == 1 and f"--workdir={place}" in shown.stdout
    environment = {"TPU_BUCKET": "my-runs"}
    words = ("run", *SLICE, "--dry_run", "--", "--config=c.py")
    shown = cloud.run("tpu_pod.sh", *words, variables=environment, script_root=cloud.checkout)
    assert "--workdir=gs://my-runs/pod" in shown.stdout


def test_step_by_step(cloud_of, tmp_path):
    """create, setup, run, status, logs, stop, delete: each with the call it promises."""
    cloud = cloud_of(f"trap 'echo saved; exit 75' TERM; {WAIT}")
    assert cloud.pod("create", *SLICE, "--create_flag=--tags=a").returncode == 0
    assert cloud.calls()[0] == [
        "gcloud", "compute", "tpus", "tpu-vm", "create", "pod", "--version=v2-alpha-tpuv5-lite",
        "--accelerator-type=v5litepod-16", "--tags=a", "--zone=mars-a", "--quiet",
    ]  # fmt: skip
    assert "absent" in cloud.pod("status", *SLICE).stdout
    done = cloud.pod("setup", *SLICE)
    assert done.returncode == 0, done.stderr
    head = subprocess.run(["git", "-C", cloud.checkout, "rev-parse", "HEAD"], capture_output=True)
    for i in range(2):
        sent = tmp_path / f"worker{i}" / "eqssl_jax"
        there = subprocess.run(["git", "-C", sent, "rev-parse", "HEAD"], capture_output=True)
        assert there.stdout == head.stdout  # the run records its commit
        install = [call for call in cloud.calls() if call[:2] == ["uv", "pip"]][i]
        assert install[-2:] == ["-e", f"{sent}[tpu,cloud]"]
    assert cloud.pod("run", *SLICE, *MAIN).returncode == 0
    assert cloud.pod("status", *SLICE).stdout.splitlines() == ["eqssl_jax: running"] * 2
    again = cloud.pod("run", *SLICE, *MAIN)
    assert again.returncode != 0
    assert "A run is in progress" in again.stderr
    assert "A run is in progress" in cloud.pod("setup", *SLICE).stderr  # nor is its code replaced
    stopped = cloud.pod("stop", *SLICE, "--grace=5")
    assert stopped.stdout.splitlines() == ["eqssl_jax: ended 75"] * 2
    words = "-m eqssl_jax.main --config=configs/care.py:shapes --workdir=/mnt/a run"
    assert cloud.starts() == [f"{tmp_path}/worker{i}/eqssl_jax {words}" for i in range(2)]
    assert "saved" in cloud.pod("logs", *SLICE, "--worker=1").stdout
    assert cloud.pod("delete", *SLICE).returncode == 0
    assert cloud.calls()[-1] == [
        "gcloud", "compute", "tpus", "tpu-vm", "delete", "pod", "--zone=mars-a", "--quiet",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("group", "state", "flags"),
    [("node", "PREEMPTED", []), ("queue", "SUSPENDED", ["--queued", "--spot"])],
)
def test_what_is_taken_away_is_made_again_and_the_run_goes_on(cloud_of, group, state, flags):
    """The first two processes lose their machines; there is no capacity at once; the next end."""
    program = (
        f"(($(wc -l <$here/starts) > 2)) && exit 0\n"
        f"touch $here/full; echo {state} >$here/{group}; exec sleep 30"
    )
    cloud = cloud_of(program)
    done = cloud.pod("watch", *SLICE, *QUICK, *flags, *MAIN)
    assert done.returncode == 0, done.stderr
    assert cloud.verbs("create", "delete", "scp", "install", "start") == [
        "create", "scp", "install", "start", "delete",
        "create", "create", "scp", "install", "start",
    ]  # fmt: skip
    first, second, third, fourth = cloud.starts()
    assert (first, second) == (third, fourth)  # the same command, which resumes
    assert next(call for call in cloud.calls() if "delete" in call)[3:] == (
        ["queued-resources", "delete", "pod", "--force", "--zone=mars-a", "--quiet"]
        if flags
        else ["tpu-vm", "delete", "pod", "--zone=mars-a", "--quiet"]
    )


def test_what_asked_to_be_started_again_is_without_a_new_machine(cloud_of):
    """One worker is killed, the other goes on until watch stops it; then both end well."""
    program = (
        "(($(wc -l <$here/starts) > 2)) && exit 0\n"
        "[[ $PWD == */worker0/* ]] && kill -9 $$\n"
        f"trap 'exit 75' TERM; {WAIT}"
    )
    cloud = cloud_of(program)
    done = cloud.pod("watch", *SLICE, *QUICK, *MAIN)
    assert done.returncode == 0, done.stderr
    assert cloud.verbs("create", "delete", "install", "start") == [
        "create", "install", "start", "start",
    ]  # fmt: skip
    assert "stop" in cloud.verbs("stop")
    assert len(cloud.starts()) == 4


def test_a_worker_that_was_started_again_is_lost_whatever_has_its_number_now(cloud_of, tmp_path):
    cloud = cloud_of("exec sleep 30")
    for action in ("create", "setup", "run"):
        assert cloud.pod(action, *SLICE, *(MAIN if action == "run" else [])).returncode == 0
    (tmp_path / "worker1" / ".eqssl_jax" / "boot").write_text("an earlier start\n")
    assert cloud.pod("status", *SLICE).stdout.splitlines() == [
        "eqssl_jax: running",
        "eqssl_jax: lost",
    ]
    cloud.pod("delete", *SLICE)  # and its processes


def test_how_a_process_ended_is_known_after_a_machine_told_all_to_end(tmp_path):
    """SIGTERM reaches the supervisor of the process too, twice, before the process has saved."""
    worker = [ROOT / "launch" / "worker.sh"]
    home = {**os.environ, "HOME": str(tmp_path)}
    program = f"trap 'sleep 0.3; exit 75' TERM; touch {tmp_path}/on; {WAIT}"
    subprocess.run([*worker, "start", "bash", "-c", program], env=home, check=True)
    while not (tmp_path / "on").exists():
        time.sleep(0.02)
    process = (tmp_path / ".eqssl_jax" / "pid").read_text().strip()
    supervisor = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
    subprocess.run(["kill", "-TERM", supervisor, process], check=True)
    time.sleep(0.1)
    subprocess.run(["kill", "-TERM", supervisor], check=True)
    while not (tmp_path / ".eqssl_jax" / "status").exists():
        assert Path(f"/proc/{supervisor}").exists()
        time.sleep(0.02)
    status = subprocess.run([*worker, "status"], env=home, capture_output=True, text=True)
    assert status.stdout == "eqssl_jax: ended 75\n"


def test_an_error_is_not_repeated(cloud_of):
    cloud = cloud_of("echo this config is wrong; exit 1")
    done = cloud.pod("watch", *SLICE, *QUICK, *MAIN)
    assert done.returncode == 1
    assert len(cloud.starts()) == 2
    assert "this config is wrong" in done.stdout
    assert "failed with status 1" in done.stderr


def test_restarts_are_bounded(cloud_of):
    cloud = cloud_of("exit 75")
    done = cloud.pod("watch", *SLICE, *QUICK, "--retries=2", *MAIN)
    assert done.returncode == 75
    assert len(cloud.starts()) == 2 * 2
    assert "given up" in done.stderr


def test_an_error_of_gcloud_never_makes_or_deletes_anything(cloud_of):
    """No permission, no network: that the slice is missing must be known, not guessed."""
    cloud = cloud_of("exit 0")
    cloud.add("gcloud", cloud.bin.joinpath("gcloud").read_text().split("\ncase")[0] + (
        "\necho ERROR: PERMISSION_DENIED >&2; exit 1\n"))  # fmt: skip
    done = cloud.pod("watch", *SLICE, *QUICK, "--retries=2", *MAIN)
    assert done.returncode == 75
    assert "PERMISSION_DENIED" in done.stderr
    assert set(cloud.verbs("describe", "create", "delete")) == {"describe"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("running, running", "running"),
        ("running, ended 0", "running"),  # process 0 still writes what the others do not
        ("running, ended 134", "failing"),
        ("running, lost", "failing"),
        ("ended 0, ended 0", "finished"),
        ("ended 75, ended 75", "again"),
        ("ended 137, ended 134", "again"),
        ("lost, ended 1", "again"),
        ("absent, absent", "again"),
        ("ended 134, ended 134", "again"),
        ("ended 1, ended 75, ended 75", "1"),  # they saved, or lost it, because of the error
        ("ended 134, ended 134, ended 1", "1"),  # jax aborted the others because of the error
        ("ended 2, ended 2", "2"),
        ("ended 0, ended 127", "127"),
    ],
)
def test_what_the_workers_say_together(said, expected):
    lines = "".join(f"eqssl_jax: {words}\n" for words in said.split(", "))
    script = ROOT / "launch" / "tpu_recovery.sh"
    process = subprocess.run(
        ["bash", "-c", f"source {script}; verdict"],
        input="SSH: connected\n" + lines, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert process.stdout == expected + "\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create"], "set the environment variable TPU_NAME"),
        (["create", "--name=a", "--zone=b"], "set the environment variable TPU_TYPE"),
        (["run", "--name=a", "--zone=b", "--", "--config=c.py"], "(--workdir=/mnt/runs/RUN)"),
        (["run", "--name=a", "--zone=b", "--", "--workdir=runs/x"], "Found: --workdir=runs/x"),
        (["run", *SLICE, "--bucket=b", "--", "--workdir=runs/x"], "Found: --workdir=runs/x"),
        (["run", *SLICE, "--bucket=b"], "Found: none"),
        (["run", *SLICE, "--", "--config=c.py", "--workdir=gs://"], "--bucket=BUCKET"),
        (["setup", "--name=a", "--zone=b", "--commit=none"], "--commit=none is no commit"),
        (["watch", "--poll=soon", *SLICE, *MAIN], "--poll=soon is no whole number"),
        (["creat"], "creat is no action"),
        (["create", "--names=a"], "--names=a is no flag"),
    ],
)
def test_mistakes_are_named_before_anything_is_called(tmp_path, arguments, message):
    cloud = StandIns(tmp_path, gcloud=GCLOUD)
    done = cloud.run("tpu_pod.sh", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert cloud.calls() == []


def test_settings_may_come_from_the_environment(tmp_path):
    cloud = StandIns(tmp_path, gcloud=GCLOUD)
    variables = {"TPU_NAME": "pod", "TPU_ZONE": "z", "TPU_PROJECT": "mine"}
    done = cloud.run("tpu_pod.sh", "delete", "--dry_run", variables=variables)
    expected = "gcloud compute tpus tpu-vm delete pod --zone=z --project=mine --quiet\n"
    assert done.stdout == expected
    assert cloud.calls() == []
