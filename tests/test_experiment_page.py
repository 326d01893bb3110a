"""From workdirs to the page: what is collected, what is damaged, what is refused; the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import warm
from parsed_page import Page, check, evaluation, png

from eqssl_jax.config import base, plain
from eqssl_jax.experiment.page import collect, find_runs, names, write_page

ROOT = Path(__file__).parent.parent


def workdir(folder, *, evaluated=True):
    """A run as training and evaluation leave it, without either."""
    (folder / "eval").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(plain(base())))
    rows = [{"step": 2, "loss": 1.5}, {"step": 2, "validation_knn": 0.25}, {"step": 4, "loss": 1.0}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "environment.json").write_text(json.dumps([{"from_step": 0, "steps": 4}]))
    if evaluated:
        for step in (4, 12):
            (folder / "eval" / f"{step}.json").write_text(json.dumps(evaluation(step, 0.5)))
            (folder / "eval" / f"{step}_views.png").write_bytes(png(step))
    return folder


def test_a_run_is_collected(tmp_path):
    run = collect(workdir(tmp_path / "care"), "care")
    assert run.name == "care" and run.folder == str(tmp_path / "care")
    assert [row["step"] for row in run.records] == [2, 2, 4]
    assert sorted(run.evaluations) == [4, 12] and run.evaluations[12] == evaluation(12, 0.5)
    assert run.figures == {"views": png(12)}  # of the latest step, 12 and not "4"
    assert run.starts == [{"from_step": 0, "steps": 4}] and run.notes == ()


def test_damage_becomes_a_note(tmp_path):
    folder = workdir(tmp_path / "care")
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"loss": 1.0}\n[1]\n\xff\xfe\n{"step": 6, "loss": NaN}\n{"step": 8, "lo')
    (folder / "eval" / "12.json").write_text('{"encoders"')
    (folder / "eval" / "14.json").write_text("[]")
    (folder / "environment.json").write_text("{")
    run = collect(folder, "care")
    assert [row["step"] for row in run.records] == [2, 2, 4, 6]
    assert list(run.evaluations) == [4] and run.figures == {"views": png(4)}
    assert run.starts == []
    assert run.notes[0] == "4 lines of metrics.jsonl could not be read"
    assert [note.split()[0] for note in run.notes[1:]] == ["eval/12.json", "eval/14.json"]
    page = Page(write_page([folder], tmp_path / "page.html").read_text())
    check(page)
    assert "care: loss not finite at step 6" in page.text()


@pytest.mark.parametrize(
    "encoders",
    ["x", [], {"trained": 1}, {"trained": {"knn": 1}}, {"trained": {"knn": {"value": "1"}}}],
)
def test_an_evaluation_of_another_shape_is_damaged(tmp_path, encoders):
    folder = workdir(tmp_path / "care")
    (folder / "eval" / "12.json").write_text(json.dumps({"encoders": encoders}))
    run = collect(folder, "care")
    assert list(run.evaluations) == [4] and "eval/12.json is damaged" in run.notes[0]


def test_one_folder_named_twice_is_one_run_and_equal_names_of_figures_stay_apart(tmp_path):
    first, second = workdir(tmp_path / "one"), workdir(tmp_path / "two")
    for folder, width in ((first, 71), (second, 72)):
        (folder / "comparison.png").write_bytes(png(width))
    again = tmp_path / "two" / ".." / "one"
    page = Page(write_page([first, second, again], tmp_path / "page.html").read_text())
    check(page)
    assert "one" in page.all("h1")[0][2] and len(page.all("h1")[0][2].split(", ")) == 2
    assert {"71", "72"} <= {a["width"] for _, a, _ in page.all("img")}


def test_a_run_that_has_not_begun(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(plain(base())))
    check(Page(write_page([tmp_path], tmp_path / "page.html").read_text()))


def test_runs_of_a_comparison_of_a_table_and_of_several_folders(tmp_path):
    workdir(tmp_path / "one" / "care")
    workdir(tmp_path / "one" / "simclr")
    deep = workdir(tmp_path / "table" / "figure_5" / "care")
    assert find_runs(tmp_path / "one") == [tmp_path / "one" / n for n in ("care", "simclr")]
    assert find_runs(tmp_path / "table") == [deep]
    assert find_runs(deep) == [deep]
    (tmp_path / "one" / "comparison.png").write_bytes(png(77))
    path = write_page([tmp_path / "one", tmp_path / "table", deep], tmp_path / "a" / "page.html")
    page = Page(path.read_text())
    check(page)
    labels = [text.strip() for _, a, text in page.all("span")]
    assert set(labels) == {"one/care", "simclr", "figure_5/care"}
    assert "77" in [a["width"] for _, a, _ in page.all("img")]
    assert not list(path.parent.glob("*.tmp"))


def test_what_lies_inside_a_run_is_its_own_matter(tmp_path):
    outer = workdir(tmp_path / "advice")
    workdir(outer / "candidates" / "rotate")
    assert find_runs(outer) == [outer]
    assert find_runs(tmp_path) == [outer]


def test_names_are_as_short_as_they_can_be():
    folders = [Path("/a/x/care"), Path("/b/x/care"), Path("/b/simclr"), Path("/")]
    assert list(names(folders).values()) == ["a/x/care", "b/x/care", "simclr", "/"]


def report(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "eqssl_jax.report", *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=False,
        env={**os.environ, "XLA_FLAGS": ""},
    )  # fmt: skip


def test_help_imports_nothing_heavy():
    program = (
        "import sys, eqssl_jax.report\n"
        "print([m for m in ('jax', 'flax', 'matplotlib', 'PIL') if m in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert process.stdout.strip() == "[]"
    shown = report("--help").stdout
    assert "--workdir" in shown and "--out" in shown and "may be given" in " ".join(shown.split())


def test_the_command(tmp_path):
    evaluated, unevaluated = (
        workdir(tmp_path / "care"),
        workdir(tmp_path / "simclr", evaluated=False),
    )
    ended = report(
        f"--workdir={evaluated}", f"--workdir={unevaluated}", f"--out={tmp_path / 'page.html'}"
    )
    assert ended.returncode == 0, ended.stderr
    assert "page.html (0." in ended.stdout.replace("\n", "")
    page = Page((tmp_path / "page.html").read_text())
    check(page)
    assert page.all("h1")[0][2] == "care, simclr"
    assert "Not evaluated yet: simclr." in page.text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("null", "config is None; it must be a group"),
        ("[1]", r"config is \[1\]; it must be a group"),
        ('{"data": 3}', "config.data is 3; it must be a group"),
        (
            '{"objectives": {"info_nce": null}}',
            "config.objectives.info_nce is None; it must be a group",
        ),
        (
            '{"train": {"batch_size": "many"}}',
            "config.train.batch_size is 'many'; it must be a whole number",
        ),
        ("\xff", "config.json is damaged"),
    ],
)
def test_a_config_of_another_shape_is_damaged_and_named(tmp_path, text, message):
    folder = workdir(tmp_path / "care")
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message) as error:
        write_page([folder], tmp_path / "page.html")
    assert f"{folder / 'config.json'} is damaged" in str(error.value)


MISTAKES = [
    ([], "--workdir is needed"),
    (["--workdir={0}/nowhere"], "There is no folder"),
    (["--workdir={0}/empty"], "no config.json there"),
    (["--workdir={0}/damaged"], "config.json is damaged"),
    (["--workdir={0}/null"], "config is None; it must be a group of settings"),
    (["--workdir={0}/care", "--out={0}/empty"], "is the folder"),
    (["--workdir={0}/care", "--out={0}/care/config.json/x.html"], "cannot be written"),
    (["--workdir={0}/care", "again"], "Unexpected argument"),
]


def test_mistakes_end_with_their_name_and_without_a_traceback(tmp_path):
    workdir(tmp_path / "care")
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_text("{")
    (tmp_path / "null").mkdir()
    (tmp_path / "null" / "config.json").write_text("null")
    before = sorted(tmp_path.rglob("*"))
    lines = [[argument.format(tmp_path) for argument in arguments] for arguments, _ in MISTAKES]
    for (_, message), (status, output) in zip(
        MISTAKES, warm.ended("eqssl_jax.report", *lines), strict=True
    ):
        assert status != 0
        assert message in " ".join(output.split())
        assert "Traceback" not in output
    assert sorted(tmp_path.rglob("*")) == before
