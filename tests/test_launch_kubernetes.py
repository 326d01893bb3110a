"""launch/kubernetes.sh with a stand-in for kubectl; what a pod would run is run here."""

import subprocess

import pytest
import yaml
from stand_ins import StandIns

# Keeps what is applied; `state` is the terminal state of the JobSet, missing where there is none.
KUBECTL = r"""
case " $* " in
    *" apply "*) cat >"$here/applied"; : >"$here/state" ;;
    *" get jobset "*--output*) [[ ! -e $here/state ]] || echo "care=$(<"$here/state")" ;;
    *" delete "*) rm -f "$here/state" ;;
esac
"""
GPUS = ["--name=care", "--image=registry/eqssl:1", "--processes=2", "--gpus=8"]
COMMAND = [
    "--volume=disk",
    "--",
    "echo",
    "--config=a \"b\" $HOME & 'c'\\ @NAME@",
    "--workdir=/runs/x",
]


@pytest.fixture
def cluster(tmp_path):
    return StandIns(tmp_path, kubectl=KUBECTL)


def render(cluster, *arguments):
    done = cluster.run("kubernetes.sh", "render", *arguments)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def pod_of(jobset):
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def test_a_rendered_gpu_run(cluster):
    jobset = render(
        cluster, *GPUS, "--select=cloud.google.com/gke-spot=true", "--volume=disk",
        "--retries=3", "--grace=25", *COMMAND,
    )  # fmt: skip
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 3
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 2, 2)
    pod = pod_of(jobset)
    assert pod["nodeSelector"] == {"cloud.google.com/gke-spot": "true"}  # a string, no boolean
    assert pod["terminationGracePeriodSeconds"] == 25
    (container,) = pod["containers"]
    assert container["image"] == "registry/eqssl:1"
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == "disk"
    assert set(volumes) == {mount["name"] for mount in container["volumeMounts"]}


def test_an_error_ends_the_jobset_and_all_else_starts_it_again(cluster):
    """Exit codes 1 and 2 fail the Job by its policy, and that alone fails the JobSet."""
    jobset = render(cluster, *GPUS, *COMMAND)
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {"containerName": "eqssl-jax", "operator": "In", "values": [1, 2]}
    assert rule["onExitCodes"]["containerName"] == pod_of(jobset)["containers"][0]["name"]
    assert job["backoffLimit"] == 0  # 75, a kill, an eviction: the Job fails for another reason
    (rule,) = jobset["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "FailJobSet"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]


def test_what_a_pod_runs(cluster):
    """With the index Kubernetes gives it, the command of a pod is the one typed, plus its flags."""
    words = pod_of(render(cluster, *GPUS, *COMMAND))["containers"][0]["command"]
    ended = subprocess.run(
        words, env={"JOB_COMPLETION_INDEX": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout.strip() == (
        "--config=a \"b\" $HOME & 'c'\\ @NAME@ --workdir=/runs/x "
        "--coordinator=care-process-0-0.care:55527 --processes=2 --coordinator_timeout=1800 "
        "--process=1"
    )


def test_tpu_slices_are_found_by_jax_itself(cluster):
    chosen = {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    pod = pod_of(render(
        cluster, "--name=care", "--image=i", "--processes=4", "--tpus=4",
        *[f"--select={key}={value}" for key, value in chosen.items()], *COMMAND,
    ))  # fmt: skip
    assert pod["nodeSelector"] == chosen
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": 4}
    assert pod["containers"][0]["command"] == COMMAND[2:]


def test_kubernetes_replaces_no_variable_of_its_own_in_the_command(cluster):
    pod = pod_of(render(cluster, "--name=a", "--image=i", "--tpus=4", "--", "echo", "$(date) $x"))
    assert pod["containers"][0]["command"] == ["echo", "$$(date) $x"]  # $$( stands for $(


def test_a_dry_run_prints_and_calls_nothing(cluster):
    rendered = cluster.run("kubernetes.sh", "render", *GPUS, *COMMAND).stdout
    for action, begin in (
        ("run", "kubectl --namespace=n apply -f -\n" + rendered),
        ("resume", "kubectl --namespace=n delete jobset care --ignore-not-found --wait\n"),
        ("delete", "kubectl --namespace=n delete jobset care"),
        ("logs", "kubectl --namespace=n logs --selector=jobset.sigs.k8s.io/jobset-name=care"),
        ("status", "kubectl --namespace=n get jobset care\n"),
    ):
        shown = cluster.run("kubernetes.sh", action, *GPUS, "--namespace=n", "--dry_run", *COMMAND)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.startswith(begin)
    assert cluster.calls() == []


def test_run_logs_delete(cluster, tmp_path):
    assert cluster.run("kubernetes.sh", "run", *GPUS, *COMMAND).returncode == 0
    assert yaml.safe_load((tmp_path / "applied").read_text())["metadata"]["name"] == "care"
    cluster.run("kubernetes.sh", "logs", "--name=care", "--process=1", "--follow", "--lines=9")
    cluster.run("kubernetes.sh", "delete", "--name=care")
    index = "batch.kubernetes.io/job-completion-index=1"
    assert cluster.calls() == [
        ["kubectl", "apply", "-f", "-"],
        ["kubectl", "logs", f"--selector=jobset.sigs.k8s.io/jobset-name=care,{index}",
         "--prefix", "--tail=9", "--max-log-requests=1", "--follow"],
        ["kubectl", "delete", "jobset", "care", "--ignore-not-found", "--wait"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "verbs"),
    [
        ("Failed", ["get", "delete", "apply"]),
        (None, ["get", "delete", "apply"]),
        ("", ["get"]),
        ("Completed", ["get"]),
    ],
)
def test_resume_looks_before_it_starts_anything(cluster, tmp_path, state, verbs):
    if state is not None:
        (tmp_path / "state").write_text(state)
    done = cluster.run("kubernetes.sh", "resume", *GPUS, *COMMAND)
    assert done.returncode == 0, done.stderr
    assert [call[1] for call in cluster.calls()] == verbs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--name=a", *COMMAND], "set the environment variable EQSSL_JAX_IMAGE"),
        (["run", "--name=a", "--image=i"], "The command is missing"),
        (["run", "--name=A", "--image=i", *COMMAND], "--name=A is no name"),
        (["run", *GPUS, "--", "x", "--workdir=runs/x"], "--workdir=runs/x is lost with its pod"),
        (["run", *GPUS, "--gpu=2", *COMMAND], "--gpu=2 is no flag"),
        (["apply", *GPUS], "apply is no action"),
    ],
)
def test_mistakes_are_named(cluster, arguments, message):
    done = cluster.run("kubernetes.sh", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert cluster.calls() == []
