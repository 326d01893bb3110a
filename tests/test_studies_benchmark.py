"""The benchmark's runs: every method on every kind of data, methods from outside, and --only."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import methods, scene, studies
from eqssl_jax.data import solids
from eqssl_jax.methods.entrants import find, rows
from eqssl_jax.presets.benchmark import benchmark
from eqssl_jax.studies import benchmark as benchmark_study
from eqssl_jax.studies import folders, standing
from eqssl_jax.studies.base import DataChoice
from eqssl_jax.training.forward import draw_views


def test_every_method_has_a_run_on_both_data_and_one_of_equal_compute_where_it_encodes_more(
    tmp_path,
):
    runs = studies.find("benchmark").runs("small", DataChoice())
    assert {f"{m}@{d}" for m in rows() for d in ("solids", "cifar10")} <= set(runs)
    assert runs["care@solids:compute"].train.steps == 500 == runs["care@solids"].train.steps // 2
    assert runs["supervised@solids:compute"].train.steps == 2_000  # one view
    assert runs["order@solids:compute"].train.steps == 667  # two, and four of a quarter of images
    assert runs["byol@solids:compute"].train.steps == 750  # the target network has no gradient
    assert "simclr@solids:compute" not in runs
    for config in runs.values():
        methods.resolved(config)
    configs = studies.find("benchmark").runs("small", DataChoice("arrays", "some.npz"))
    assert configs["sie@cifar10"].data.directory == "some.npz" and "sie@solids" not in configs
    (tmp_path / "manifest.csv").write_text("path,split,variety,axis,approx_angle_deg\n")
    fruits = studies.find("benchmark").runs("small", DataChoice("folder", str(tmp_path)))
    assert fruits["sie@fruits360"].data.name == "fruits360"
    assert fruits["sie@fruits360"].data.directory == str(tmp_path)
    (tmp_path / "manifest.csv").rename(tmp_path / "train_images.npy")
    (tmp_path / "val_images.npy").touch()
    objects = studies.find("benchmark").runs("small", DataChoice("folder", str(tmp_path)))
    assert {run.split("@")[1].split(":")[0] for run in objects} == {"3diebench"}
    of_images = {"care", "two_view_care", "order", "stl", "essl", "ser"}
    assert {run.split("@")[0] for run in objects} == set(rows()) - of_images
    assert objects["sie@3diebench"].data.directory == str(tmp_path)
    choice = DataChoice("folder", str(tmp_path))
    with pytest.raises(ValueError, match=r"care has no run on 3diebench: .* wants turn drawn for"):
        folders.choose(studies.find("benchmark"), "small", choice, only=("sie", "care"))
    with pytest.raises(ValueError, match="the methods supervised, simclr"):
        benchmark("solids", "nothing")
    with pytest.raises(ValueError, match="no recipes for --data=stl10"):
        studies.find("benchmark").runs("small", DataChoice("stl10"))
    with pytest.raises(ValueError, match="no scale 'tiny'"):
        studies.find("benchmark").runs("tiny", DataChoice())


@pytest.mark.parametrize("data", ["solids", "cifar10"])
@pytest.mark.parametrize("method", rows())
def test_every_method_renders_its_views_on_every_kind_of_data(method, data):
    config = benchmark(data, method)
    built = methods.build(methods.resolved(config))
    shape = scene.SIZE if data == "solids" else (32, 32, 3)
    shape = (128, *np.atleast_1d(shape))
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    views = jax.eval_shape(
        lambda key, images: draw_views(built, key, images)[1], jax.random.key(0), images
    )
    assert all(np.prod(made.shape) for made in views.values())
    total = 0.0
    for name, spec in built.views.items():
        pixels = 1.0 if data == "solids" else views[name].shape[-2] ** 2 / 32**2
        share = views[name].shape[1] / 128 * pixels
        total += 3 * share * len(spec.online or views[name])
        total += share * len(spec.target or views[name]) * (name in built.target_views)
    stated, recipe = find(method).row.cost, config.recipe
    assert total / 6 == pytest.approx(stated.get(recipe.name, stated[""]))
    made = methods.build_recipe(recipe.name, recipe.options)
    example = jax.ShapeDtypeStruct(shape[1:], jnp.float32)
    counted = methods.relative_cost(built, made, example, batch=128)
    assert counted == pytest.approx(total / 6)


def test_of_a_folder_that_stands_in_it_is_said_what_its_rows_are_called(tmp_path, capsys):
    folder = DataChoice("folder", str(tmp_path))
    assert set(benchmark_study._runs("small", folder, "barlow_twins")) == {"barlow_twins@cifar10"}
    assert not capsys.readouterr().err  # once, not for every method that is added
    benchmark_study._runs("small", folder)
    assert capsys.readouterr().err.endswith(f"{tmp_path} is seen as CIFAR-10 is: its rows are "
                                            f"called <method>@cifar10.\n")  # fmt: skip
    for part in ("Training", "Test"):
        (tmp_path / part).mkdir()
    benchmark_study._runs("small", folder)
    assert f"it lacks {tmp_path / 'manifest.csv'}" in capsys.readouterr().err


def test_at_full_scale_heads_are_as_wide_as_their_authors():
    runs = studies.find("benchmark").runs("paper", DataChoice("solids"))
    card = methods.find("sie").settings["projector"].default
    assert methods.resolved(runs["sie@solids"]).objectives.sie.projector == card != (128, 64)
    assert runs["sie@solids"].model.projector == (512, 128)


def test_the_smallest_scale_asks_for_no_more_images_than_its_data_have():
    """A batch, a probe or a measure of more would stop it before the first step."""
    runs = studies.find("benchmark").runs("smoke", DataChoice())
    for name in ("care@solids", "order@solids", "stl@solids"):
        config = methods.resolved(runs[name])
        data = solids.load(**config.data.options.to_dict())
        assert config.train.batch_size <= data.splits["objects"].size, name
        assert config.evaluation.options.relative_objects <= data.splits["objects"].size
        methods.build(config)  # groups divide the batch


MINE = """
from eqssl_jax import views
from eqssl_jax.methods import Addition, Card, Row, on_contrast
from eqssl_jax.objectives import Objective
from eqssl_jax.settings import number

def build(values, context):
    return on_contrast(values, context, Objective("contrast", lambda head, seen: (0.0, {})))

def with_views(values, context):
    own = views.ViewSpec(context.recipe, views.independent(2), images=64)
    return Addition({"mine": own}, {context.key: (values.weight, Objective("mine", None))})

alone = Card("alone", "Alone", "ours", {"power": number(1.5, "exponent", low=0)}, build)
beside = alone._replace(build=with_views, compares=False)
elsewhere = beside._replace(benchmark=Row(cost={"shapes": 5.0}))
turned = beside._replace(role="rotational", benchmark=Row(
    small={"power": 2.0}, tried="power", config={"target.momentum": 0.5}, cost={"": 2.0}))
tries = alone._replace(benchmark=Row(tried="pwer"))
sets = alone._replace(benchmark=Row(small={"pwer": 2.0}))
changes = alone._replace(benchmark=Row(config={"target.momentm": 0.5}))
costs = alone._replace(benchmark=Row(cost=2.0))
free = alone._replace(benchmark=Row(cost={"": 0}))
added = alone._replace(benchmark=Row(beside="simclr"))
dictionary = alone._replace(benchmark={"cost": 2.0})
large = alone._replace(benchmark=Row(full={"pwer": 2.0}))
number_for_a_recipe = alone._replace(benchmark=Row(recipes={"solids": 3}))
no_recipe = alone._replace(benchmark=Row(recipes={"solidz": {"power": 2.0}}))
no_recipe_costs = alone._replace(benchmark=Row(cost={"solidz": 2.0}))
no_name = alone._replace(benchmark=Row(small={1: 2.0}))
more_steps = alone._replace(benchmark=Row(config={"train.steps": 5000}))
unknown_beside = alone._replace(benchmark=Row(beside=("nosuch",)))
number_beside = alone._replace(benchmark=Row(beside=(1,)))
care_beside = turned._replace(benchmark=Row(beside=("simclr", "care")))
word = alone._replace(benchmark=Row(projector="no"))
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda *only, table="benchmark": folders.choose(
        studies.find(table), "small", DataChoice("solids"), only=only
    )
    sys.modules.pop("mine", None)


def test_a_method_from_outside_is_a_row_that_follows_from_its_card(mine, tmp_path):
    choice = mine("mine:alone", "mine:beside", "mine:elsewhere", "mine:turned@solids")
    runs = {run.name: run.config for run in choice.wanted}
    steps = {name: config.train.steps for name, config in runs.items()}
    assert steps == {
        "mine:alone@solids": 1000,
        "mine:beside@solids": 1000, "mine:beside@solids:compute": 667,  # half a batch: counted
        "mine:elsewhere@solids": 1000, "mine:elsewhere@solids:compute": 667,  # no cost is stated
        "mine:turned@solids": 1000,
    }  # fmt: skip
    assert {"simclr@solids", *runs} <= {run.name for run in choice.shown}
    entries = {name: set(config.objectives) for name, config in runs.items()}
    assert entries["mine:alone@solids"] == {"mine_alone"}
    assert entries["mine:beside@solids"] == {"info_nce", "mine_beside"}
    turned = runs["mine:turned@solids"]
    assert set(turned.objectives) == {"info_nce", "equivariance"}  # in place of CARE
    assert turned.objectives.equivariance.method == "mine:turned"
    assert turned.objectives.equivariance.power == 2.0 and turned.target.momentum == 0.5
    assert set(turned.roles.values()) == {"rotational"}
    names = [folders.folder(tmp_path, run.name, run.config).name for run in choice.wanted]
    assert names[0].startswith("mine-alone-solids-seed0-") and not any(":" in n for n in names)
    trials = mine("mine:turned", table="benchmark_trials").wanted
    powers = {run.name: run.config.objectives.equivariance.power for run in trials}
    assert powers["mine:turned@solids:3"] == 6.0 and len(powers) == 3
    assert {standing.data_of(name) for name in runs} == {"solids"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tries", r"tried is 'pwer', .* its settings \(power\)"),
        ("sets", "no setting 'pwer': did you mean 'power'"),
        ("changes", "target.momentm"),
        ("costs", "cost is 2.0, and must be a dict"),
        ("free", "cost has 0, and must be numbers above 0"),
        ("added", "beside is 'simclr', and must be a tuple"),
        ("dictionary", "must be a methods.Row"),
        ("large", "no setting 'pwer': did you mean 'power'"),
        ("number_for_a_recipe", r"recipes\['solids'\] is 3, and must be a dict"),
        ("no_recipe", "names the recipe 'solidz', and recipes are simclr_cifar"),
        ("no_recipe_costs", "names the recipe 'solidz'"),
        ("no_name", "small is {1: 2.0}, and must be a dict"),
        ("more_steps", "config sets train.steps, which is the same for all"),
        ("unknown_beside", "`beside` of its methods.Row is 'nosuch'"),
        ("number_beside", r"beside is \(1,\), and must be a tuple"),
        ("care_beside", "beside has 'care', and both would be config.objectives.equivariance"),
        ("word", "projector is 'no', and must be True or False"),
        ("nothing", "has no 'nothing'"),
    ],
)
def test_a_row_that_does_not_fit_its_card_is_refused(mine, name, message):
    with pytest.raises(ValueError, match=message):
        benchmark("solids", f"mine:{name}")


def test_only_takes_a_method_a_data_set_and_says_what_is_nearest():
    config = benchmark("solids", "simclr")
    names = ("sie@a", "care@a", "care@a:compute", "my:own@a", "sie@b", "care@b:0.3", "care@b:1")
    study = benchmark_study.BENCHMARK._replace(
        runs=lambda scale, data: dict.fromkeys(names, config), added=None
    )

    def named(*only):
        choice = folders.choose(study, "small", DataChoice(), only=only)
        assert len(choice.shown) == len(names)
        return [run.name for run in choice.wanted]

    assert named("SIE") == ["sie@a", "sie@b"]
    assert named("care") == ["care@a", "care@a:compute", "care@b:0.3", "care@b:1"]
    assert named("care@a") == ["care@a"]  # as --plan writes it
    assert named("care@b") == ["care@b:0.3", "care@b:1"]
    assert named("my:own") == ["my:own@a"]
    assert named("@b", "sie") == ["sie@a", "sie@b", "care@b:0.3", "care@b:1"]
    with pytest.raises(ValueError, match=r"run 'sei' \(nearest: sie.*takes .*my:own"):
        named("sei")
    with pytest.raises(ValueError, match="run 'simclr@a'"):
        named("simclr@a")
    assert named("@B", " sie ", "SIE") == named("@b", "sie")
    added = studies.find("benchmark").added
    assert list(added("barlow_twins@solids", "small", DataChoice())) == ["barlow_twins@solids"]
    assert not added("sie", "small", DataChoice()) and not added("nothing", "small", DataChoice())


def test_only_takes_any_spelling_of_a_method_and_names_the_nearest_of_others(mine):
    def named(*only):
        return sorted({run.name.split(":")[0] for run in mine(*only).wanted})

    for spelling in ("Barlow_Twins", "barlow-twins", " Barlow Twins", "BARLOW-TWINS@Solids"):
        assert named(spelling) == ["barlow_twins@solids"]
    for spelling in ("classify", "Classification", "supervised@solids"):  # a card of another row
        assert named(spelling) == ["supervised@solids"]
    assert named("E-SSL", "two-view-care") == ["essl@solids", "two_view_care@solids"]
    assert {run.name for run in mine("mine:alone@Solids").wanted} == {"mine:alone@solids"}
    for wrong, near in {
        "barlow_twin": "nearest: barlow_twins", "barlow_twins@tokyo": "nearest: barlow_twins",
        "@solid": "nearest: @solids", "": "row or run ''; ", "my-parts:mine": "as Python imports",
        "mine:Alone": r"no 'Alone' \(did you mean 'alone'\?\)",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=near):
            named(wrong)


def test_a_module_in_another_spelling_is_named(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"\(did you mean 'my_parts'\?\): put My_Parts.py into"):
        find("My_Parts:mine")
