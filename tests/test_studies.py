"""Named studies: every cell has a run, every run builds, which runs are meant, and their notes."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import warm

from eqssl_jax import methods, studies
from eqssl_jax.config import load, plain
from eqssl_jax.studies import estimate, folders, scales, tabulate
from eqssl_jax.studies.base import DataChoice, Outcome
from eqssl_jax.studies.folders import choose
from eqssl_jax.tabular.published import published
from eqssl_jax.training.checks import check_measurements
from eqssl_jax.training.datasets import measured_recipe

ROOT = Path(__file__).parent.parent


SHAPES = DataChoice("shapes")


ALL = list(studies.STUDIES.values())


@functools.cache
def objectives_of(text: str) -> dict[str, float]:
    built = methods.build(load(json.loads(text)))
    return {name: weight for name, (weight, _) in built.objectives.items()}


def objectives(config) -> dict[str, float]:
    """Weights by objective of what is built from a config; built once for each distinct method."""
    parts = ("recipe", "roles", "role_weights", "sharing", "objectives", "target", "model")
    plain_values = plain(config)
    return objectives_of(json.dumps({part: plain_values[part] for part in parts}, sort_keys=True))


@pytest.mark.parametrize("scale", studies.SCALES)
# The trials are the benchmark's methods with other weights: tests/test_studies_benchmark.py.
@pytest.mark.parametrize(
    "study", [s for s in ALL if s.name != "benchmark_trials"], ids=lambda s: s.name
)
def test_every_run_of_every_study_is_a_method(study, scale):
    # The benchmark's methods at other scales are built by tests/test_studies_benchmark.py; those of
    # λ are CARE's, and those of roles are built in tests/test_studies_roles.py.
    built = study.name != "benchmark" or scale == "paper"
    built &= study.name not in ("lambda_choice", "roles", "order_factors")
    for name, config in study.runs(scale, DataChoice()).items():
        assert not built or objectives(config), name
        if scale in ("small", "smoke"):
            assert 0 < config.train.steps <= (2_000 if study.name == "benchmark" else 400)
            assert config.train.keep * config.train.save_every >= config.train.steps
    for data in (SHAPES, DataChoice("arrays", "some.npz")):
        for config in study.runs(scale, data).values():
            name = "proteins" if study.name == "proteins" else data.name
            assert (config.data.name, config.data.directory) == (name, data.directory)


@pytest.mark.parametrize("study", [s for s in ALL if s.published], ids=lambda s: s.name)
def test_every_published_cell_has_its_run(study):
    assert set(study.cells) == set(published()[study.published].cells)
    assert set(study.cells.values()) == set(study.runs("paper", DataChoice()))


def test_runs_of_table_1_are_the_methods_of_their_rows():
    runs = studies.find("care_table1").runs("paper", DataChoice())
    cells = studies.find("care_table1").cells
    care = runs[cells["CARE-MoCo-v2", "ImageNet-100"]]
    assert set(objectives(care)) == {"moco", "equivariance"}
    assert (care.data.name, care.model.encoder, care.train.epochs) == (
        "imagenet100", "resnet50", 200.0,
    )  # fmt: skip
    equimod = runs[cells["EquiMod-BYOL", "CIFAR-10"]]
    assert set(objectives(equimod)) == {"byol", "equimod"}
    assert runs[cells["BYOL", "CIFAR-100"]].data.name == "cifar100"
    assert runs[cells["SimCLR", "STL-10"]].data.split == "unlabeled"


def test_table_1_on_imagenet_measures_all_rows_alike_and_on_all_images():
    study = studies.find("care_table1")
    runs = study.runs("paper", DataChoice())
    simclr, care = (runs[study.cells[row, "ImageNet-100"]] for row in ("SimCLR", "CARE-SimCLR"))
    assert set(objectives(simclr)) == {"info_nce"}  # CARE's recipe is not trained with there
    assert measured_recipe(simclr) is measured_recipe(care)
    for config in runs.values():
        options = config.evaluation.options
        assert (options.train_images, options.test_images, options.rotation_images) == (None,) * 3
    options = runs[study.cells["SimCLR", "ImageNet-100"]].evaluation.options
    protocol = {"care_optimizer": "sgd", "care_epochs": 60, "care_batch": 128, "care_rate": 30.0}
    assert protocol.items() <= options.to_dict().items()
    assert "care_rate" not in runs[study.cells["SimCLR", "CIFAR-10"]].evaluation.options
    check_measurements(simclr)


def test_reduced_table_1_has_every_row_on_one_data_set_and_all_of_its_images():
    study = studies.find("care_table1")
    choice = choose(study, "reduced", DataChoice("arrays", "some.npz"), seeds=3)
    runs = study.runs("reduced", DataChoice("arrays", "some.npz"))
    assert [chosen.title() for chosen in choice.wanted[:3]] == [
        f"simclr, seed {i}" for i in range(3)
    ]
    assert len(choice.wanted) == 3 * 18 and list(runs)[:4] == [
        "simclr", "simclr_care", "simclr_two_views", "supervised",
    ]  # fmt: skip
    assert set(objectives(runs["supervised"])) == {"classify"}
    assert set(objectives(runs["byol_equimod"])) == {"byol", "equimod"}
    assert set(objectives(runs["vicreg_care"])) == {"vicreg", "equivariance"}
    assert runs["simclr_two_views"].objectives.equivariance.method == "two_view_care"
    for config in runs.values():
        assert (config.data.directory, config.train.epochs, config.train.steps) == (
            "some.npz",
            60,
            0,
        )
        assert config.evaluation.options.train_images is None
        check_measurements(config)
    trained = {"knn": {"value": 0.5, "sd": None, "n": 9}}
    result = {
        "dataset": "some",
        "step": 1,
        "chance": {"knn": 0.1},
        "encoders": {"trained": trained},
    }
    outcomes = [(run, Outcome(run.config, [], {1: result}, {})) for run in choice.shown[:6]]
    text, *_ = tabulate.tabulate(study, "reduced", choice.shown, outcomes)
    assert "simclr_care" in text and "60 epochs of batch 128" in " ".join(text.split())


def test_each_base_method_with_and_without_care():
    runs = studies.find("base_methods_care").runs("small", SHAPES)
    bases = {"simclr": "info_nce", "moco": "moco", "byol": "byol",
             "barlow_twins": "barlow_twins", "vicreg": "vicreg"}  # fmt: skip
    assert {name: set(objectives(config)) for name, config in runs.items()} == {
        **{name: {base} for name, base in bases.items()},
        **{f"{name}_care": {base, "equivariance"} for name, base in bases.items()},
    }


def test_figures_5_and_8_share_their_runs_at_every_scale():
    for scale in studies.SCALES:
        wahba, gamma = (studies.find(n).runs(scale, DataChoice()) for n in ("wahba", "gamma"))
        assert {n: folders.digest(c) for n, c in wahba.items()} == {
            n: folders.digest(c) for n, c in gamma.items()
        }


def test_what_of_equimod_is_measured_is_said():
    for name in ("wahba", "gamma", "retrieval"):
        assert "not by EquiMod's own projection" in " ".join(studies.find(name).notes)


def test_the_ablation_has_each_combination_once():
    runs = studies.find("loss_ablation").runs("small", SHAPES)
    combinations = {frozenset(objectives(config)) for config in runs.values()}
    assert len(runs) == len(combinations) == 7
    assert set().union(*combinations) == {"alignment", "uniformity", "equivariance"}


def test_the_circle_has_two_dimensions_and_the_sweep_its_weights():
    assert {c.model.projector[-1] for c in studies.find("circle").runs("small", SHAPES).values()} \
        == {2}  # fmt: skip
    sweep = studies.find("lambda_sweep").runs("small", SHAPES)
    weights = {name: objectives(config).get("equivariance", 0.0) for name, config in sweep.items()}
    assert weights == {f"lambda_{w:g}": w for w in weights.values()}
    assert len(weights) >= 5


def test_data_stands_in_for_one_column():
    study = studies.find("care_table1")
    first = choose(study, "small", SHAPES)
    assert {study.cells[cell] for cell in study.cells if cell[1] == "CIFAR-10"} == {
        training.name for training in first.shown
    }
    third = choose(study, "small", SHAPES, only=["stl-10", "SimCLR"])
    assert [training.name for training in third.wanted] == ["simclr@stl10"]
    everything = choose(study, "small", DataChoice(), only=["CARE-SimCLR"])
    assert len(everything.wanted) == 4
    assert len(everything.shown) == len(study.cells)
    by_run = choose(study, "small", SHAPES, only=["simclr@stl10"])  # as --plan writes it
    assert [training.name for training in by_run.wanted] == ["simclr@stl10"]
    assert all(training.name.endswith("@stl10") for training in by_run.shown)
    for several in (["STL-10", "CIFAR-10"], ["simclr@stl10", "simclr@cifar10"]):
        with pytest.raises(ValueError, match="several columns"):
            choose(study, "small", SHAPES, only=several)
    for data in (SHAPES, DataChoice()):
        with pytest.raises(ValueError, match=r"No run .* STL-10 has the runs simclr@stl10"):
            choose(study, "small", data, only=["STL-10", "simclr@cifar10"])


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: studies.find("table_1"), ValueError, "care_table1"),
        (lambda: scales.config("cifar10", lambda c: c, "tiny", SHAPES), ValueError, "smoke"),
        (lambda: choose(ALL[0], "large", SHAPES), ValueError, "no scale 'large'"),
        (lambda: choose(ALL[0], "smoke", SHAPES, only=["MNIST"]), ValueError, "CIFAR-100"),
        (lambda: choose(ALL[0], "smoke", SHAPES, seeds=0), ValueError, "--seeds is 0"),
        (
            lambda: studies.find("proteins").runs("smoke", DataChoice("cifar10")),
            ValueError,
            "no set of proteins",
        ),
        (lambda: studies.parse_data("nowhere.npz"), FileNotFoundError, "train_images"),
        (lambda: studies.parse_data("no/where"), FileNotFoundError, "no/where"),
        (lambda: studies.parse_data("no/where"), FileNotFoundError, "PDB"),
        (
            lambda: folders.check(ROOT / "README.md" / "x" / "y"),
            ValueError,
            r"README\.md is a file",
        ),
    ],
)
def test_what_does_not_exist_is_refused(action, error, message):
    with pytest.raises(error, match=message):
        action()


def outcomes_of(study, scale, data, seeds):
    """Made-up outcomes of all runs, of so many seeds each."""
    numbers = {"trained": {"probe_top1": {"value": 0.5, "sd": 0.01, "n": 3}}}
    result = {"step": 6, "dataset": "any", "encoders": numbers, "chance": {}}
    shown = choose(study, scale, data, seeds=max(seeds.values())).shown
    return shown, [
        (training, Outcome(training.config, [], {6: result}, {}))
        for training in shown
        if training.seed < seeds.get(training.name, 1)
    ]


def notes_of(study, scale, data, seeds=None):
    shown, outcomes = outcomes_of(study, scale, data, seeds or {"": 1})
    return " ".join(tabulate.tabulate(study, scale, shown, outcomes)[0].split())


def test_notes_name_data_that_stands_in():
    table, proteins = studies.find("care_table1"), studies.find("proteins")
    notes = notes_of(table, "paper", DataChoice())
    assert "NOT comparable" not in notes
    assert "60 epochs of SGD" in notes
    given = notes_of(table, "paper", DataChoice("arrays", "x.npz"))
    assert "NOT comparable with the published numbers: arrays (x.npz) in place of cifar10." in given
    generated = notes_of(proteins, "paper", DataChoice())
    assert "generated chains in place of proteins" in generated
    assert "on generated chains" in generated
    assert "generated" not in notes_of(proteins, "paper", DataChoice("folder", "x"))


def test_notes_count_the_trainings_of_each_run():
    study = studies.find("wahba")
    trainings = {"simclr": 2, "care": 2, "equimod": 2}
    assert "one standard deviation over 2 trainings" in notes_of(study, "small", SHAPES, trainings)
    assert "Trainings: 2 trainings of simclr; 1 training of care, " in (
        notes_of(study, "small", SHAPES, {"simclr": 2})
    )


def test_steps_of_the_paper_need_no_data():
    config = studies.find("care_table1").runs("paper", DataChoice())
    assert estimate.steps(config["simclr@cifar10"]) == 400 * (45_000 // 256)
    assert estimate.steps(config["simclr@stl10"]) == 400 * (104_500 // 256)
    assert estimate.steps(config["simclr@imagenet100"]) == 200 * (114_020 // 512)


def test_the_config_of_a_study_expands_to_its_runs():
    from eqssl_jax.experiment.run import expand

    namespace: dict = {}
    exec((ROOT / "configs" / "study.py").read_text(), namespace)
    for name in ("lambda_sweep", "loss_ablation", "circle"):
        expanded = expand(namespace["get_config"](f"{name},smoke"))
        runs = studies.find(name).runs("smoke", DataChoice())
        assert {
            run.replace(".", "_"): plain(methods.resolved(config)) for run, config in runs.items()
        } == {run: plain(config) for run, config in expanded.items()}
    with pytest.raises(ValueError, match=r"eqssl_jax\.tables"):
        namespace["get_config"]("care_table1,smoke")


def test_the_documented_config_of_a_study_has_its_data(tmp_path, monkeypatch):
    namespace: dict = {}
    exec((ROOT / "configs" / "study.py").read_text(), namespace)
    [variant] = re.findall(r"--config=configs/study\.py:(\S+)", namespace["__doc__"])
    monkeypatch.chdir(tmp_path)
    np.savez("cifar10.npz", images=np.zeros(1))
    config = namespace["get_config"](variant)
    assert (config.data.name, config.data.directory) == ("arrays", "cifar10.npz")
    assert config.data.split == "train"
    assert len(config.runs) == 7
    assert not any("data" in run for run in config.runs.values())  # all of the same data
    assert "--config.data" not in namespace["__doc__"]


def test_smoke_is_of_two_runs_unless_others_are_named():
    table = studies.find("care_table1")
    assert len(choose(table, "smoke", DataChoice()).wanted) == 2
    assert len(choose(table, "small", SHAPES).wanted) > 2
    choice = choose(table, "smoke", DataChoice(), only=["CIFAR-10"])
    assert len(choice.wanted) == len(choice.shown) > 2


MISTAKES = [
    (["--table=circle"], "--runs is needed"),
    (["--table=square", "--runs=x"], "no table 'square'"),
    (["--table=circle", "--scale=huge", "--runs=x"], "no scale 'huge'"),
    (["--table=circle", "--data=no.npz", "--runs=x"], "no such file"),
    (["--table=circle", "--runs=README.md"], "is a file"),
    (["--table=circle", "--runs=x", "--settings=no.json"], "--settings=no.json"),
]


@pytest.fixture(scope="module")
def ended():
    """Each mistake, and last no arguments at all; in a terminal of 60 columns."""
    with pytest.MonkeyPatch.context() as terminal:
        terminal.setenv("COLUMNS", "60")
        return warm.ended("eqssl_jax.tables", *(arguments for arguments, _ in MISTAKES), [])


@pytest.mark.parametrize("case", range(len(MISTAKES)))
def test_mistakes_end_with_their_name_and_without_a_traceback(ended, case):
    status, output = ended[case]
    assert status == 1
    assert MISTAKES[case][1] in " ".join(output.split())
    assert "Traceback" not in output


def test_without_a_table_all_are_listed(ended):
    status, output = ended[-1]
    assert status == 0, output
    assert "Table1" in "".join(output.split())
    assert all(f"\n{name}  (" in output for name in studies.STUDIES)  # none is cut or folded
    assert "beyond" in output


def test_the_list_names_figures_and_fits_the_terminal(ended):
    lines = ended[-1].output.splitlines()
    assert "retrieval  (Figures 9, 21)" in lines
    beyond = [study for study in studies.STUDIES.values() if not study.reproduces]
    assert sum("(beyond the paper)" in line for line in lines) == len(beyond) > 0
    assert max(map(len, lines)) <= 60
    assert len(lines) < 6 * len(studies.STUDIES)
