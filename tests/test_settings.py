"""Settings: ranges of every kind, and no nonsense accepted anywhere in a config."""

import importlib.util
import json
import math
from pathlib import Path

import mutations
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.config import SCHEMA, base, checked, load, plain
from eqssl_jax.experiment.run import expand
from eqssl_jax.settings import (
    accept,
    also,
    check,
    choice,
    defaults,
    either,
    find,
    flag,
    free,
    names,
    number,
    numbers,
    text,
    whole,
    wholes,
)
from eqssl_jax.training.checks import check_batch, check_measurements
from eqssl_jax.training.datasets import load_dataset
from eqssl_jax.training.workdir import read_config

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("setting", "right", "wrong"),
    [
        (number(1.0, "", above=0, high=2), (1, 2.0, 1e-30), (0, 2.1, math.nan, math.inf, 1e-300)),
        (number(1.0, "", low=-1, below=0), (-1, -0.5), (0, -1.1, True, "0", None, 10**400)),
        (whole(4, "", low=3, zero="none"), (0, 3), (1, -1)),
        (whole(3, "", low=2, high=5), (2, 5), (1, 6, 2.0, True, "3", math.nan, 2**31, 10**30)),
        (choice("a", "", ("a", "b")), ("a", "b"), ("c", "", None, 1, ["a"])),
        (flag(True, ""), (True, False), (1, 0, "true", None)),
        (text("a", "", longest=3, empty=False), ("abc",), ("", "abcd", "a\n", "\x1b[1m", 3)),
        (numbers((1.0,), "", above=0, least=1, most=2, ordered=True), ([1, 1.5], (2.0,)),
         ([], [2, 1], [1, 2, 3], [0.0], [math.nan], 1.0, "abc", None)),
        (wholes((1,), "", low=1, high=9, least=1), ([1, 9],), ([1.5], [True], [10**9], ["1"], 3)),
        (names((), "", ("a", "b")), ([], ("a", "b")), (["a", "a"], ["c"], "a", [1], [[1]])),
        (also(whole(1, "", low=1), None, "all"), (None, 1), (0, "None")),
        (either(whole(1, "", low=1), names((), "", least=1)), (1, ["a"]), (0, [], "a")),
    ],
)  # fmt: skip
def test_ranges(setting, right, wrong):
    for value in right:
        assert setting.wrong(value) is None
        setting.convert(value)
    for value in wrong:
        assert setting.wrong(value).startswith(setting.allowed)
        with pytest.raises(ValueError, match=r"config\.name is .*; it must be") as refused:
            accept("config.name", value, setting)
        assert str(refused.value).isprintable()


def test_values_come_in_the_types_of_their_settings():
    schema = {"rate": number(0.1, ""), "sizes": wholes((1,), ""), "part": {"of": text("", "")}}
    checked = check({"rate": 1, "sizes": [2, 3], "part": {"of": "x"}}, schema)
    assert checked == {"rate": 1.0, "sizes": (2, 3), "part": {"of": "x"}}
    assert isinstance(checked["rate"], float)
    assert check({"part": {}}, schema, partial=True) == {"part": {}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 1}, "config.b is missing"),
        ({"a": 1, "b": {"c": 2}, "bb": 3}, "config has no setting 'bb': did you mean 'b'"),
        ({"a": 1, "b": 3}, "config.b is 3; it must be a group of settings: c"),
        ({"a": {"x": 1}, "b": {"c": 2}}, r"config.a is \{'x': 1\}; it must be a whole number"),
        (None, "config is None; it must be a group"),
    ],
)
def test_structure(values, message):
    with pytest.raises(ValueError, match=message):
        check(values, {"a": whole(1, ""), "b": {"c": whole(1, "")}})


def test_free_groups():
    schema = {"roles": free("a role each", choice("x", "", ("x", "y"))), "options": free("any")}
    checked = check({"roles": {"crop": "y"}, "options": {"a": [1, {"b": 2.5}]}}, schema)
    assert checked == {"roles": {"crop": "y"}, "options": {"a": (1, {"b": 2.5})}}
    for wrong in ({"roles": {"crop": "z"}}, {"options": {"a": math.nan}}, {"options": {"a.b": 1}},
                  {"roles": ["crop"]}, {"options": {"a": {"b": 2**40}}}):  # fmt: skip
        with pytest.raises(ValueError, match=r"config\."):
            check(wrong, schema, partial=True)
    deep = [1]
    for _ in range(5000):
        deep = [deep]
    for wrong in ({"options": {"a": deep}}, {"roles": {"crop": deep}}, {"options": {"a": [deep]}}):
        with pytest.raises(ValueError, match=r"^config\.\S+ is .*nested") as raised:
            check(wrong, schema, partial=True)
        assert len(str(raised.value)) < 400
    assert find(SCHEMA, ("roles", "crop")).default == "invariant"
    assert find(SCHEMA, ("recipe", "options", "size")) is None


def test_the_defaults_fit_and_survive_being_stored():
    assert check(defaults(SCHEMA), SCHEMA) == defaults(SCHEMA)
    assert load(plain(base())) == checked(base())


def loaded(name: str) -> ConfigDict:
    file, _, variant = name.partition(":")
    described = importlib.util.spec_from_file_location("config", ROOT / "configs" / file)
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module.get_config(*[variant] if variant else [])


EXAMPLES = ("care_order.py:shapes", "proteins.py:care", "advise.py:shapes", "steering_small.py",
         "byol.py:shapes,equimod", "moco.py:imagenet100,care")  # fmt: skip
CONFIGS = {name: loaded(name) for name in EXAMPLES}
# What is known when the data is read only: benchmarks/mutate_settings.py.
LATER = (
    "data.name",
    "data.directory",
    "data.split",
    "data.options",
    "model.encoder",
    "evaluation.options",
)
TRIES = [
    (name, setting, value)
    for name, config in CONFIGS.items()
    for setting, before in mutations.leaves(config)
    for value in mutations.nonsense(before)
    if not setting.startswith(LATER)
]


def before_reading(config: ConfigDict) -> None:
    """All checks of a config that look at no data: ranges, runs, recipe, roles, objectives."""
    run_config = next(iter(expand(config).values()))
    methods.build(run_config)
    check_measurements(run_config)


@seed(0)
@settings(max_examples=300, deadline=None, database=None)
@given(st.sampled_from(TRIES))
def test_nonsense_is_refused_with_the_name_of_its_setting(case):
    name, setting, value = case
    tally = mutations.Tally()
    changed = mutations.mutated(CONFIGS[name], setting, value)
    tally.add(name, setting, value, mutations.outcome(lambda: before_reading(changed), setting))
    assert not tally.faults


def test_refusals_of_checks_that_look_at_several_settings_name_one():
    for setting, value in (("evaluation.options", {"no such": 1}), ("train.batch_size", 3)):
        config = mutations.mutated(CONFIGS["care_order.py:shapes"], setting, value)
        with pytest.raises(ValueError, match=rf"config\.{setting}"):
            before_reading(config)
            run_config = next(iter(expand(config).values()))
            check_batch(run_config, methods.build(run_config), 1)


CALLED = st.sampled_from(list(mutations.additions()))


@seed(0)
@settings(max_examples=60, deadline=None, database=None)
@given(CALLED)
def test_options_that_collide_with_parameters_are_refused_by_name(case):
    setting, value = case
    changed = mutations.mutated(CONFIGS["advise.py:shapes"], setting, value)
    tally = mutations.Tally()

    def reading() -> None:
        before_reading(changed)
        load_dataset(next(iter(expand(changed).values())))

    tally.add("advise", setting, value, mutations.outcome(reading, setting))
    assert not tally.faults


# ml_collections loads files by a method that Python will drop.
reads_files = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")


@reads_files
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("train.batch_size=abc", "config.train.batch_size is 'abc'; it must be a whole number"),
        ("train.batch_sise=8", "config.train has no setting 'batch_sise': did you mean"),
        ("model.projector=abc", "config.model.projector is .*abc"),
        ("model.projector=(10**9,)", "config.model.projector is"),
        ("model.projector=b'x'", "config.model.projector is b'x'; it must be"),
        ("model.projector={64, 32}", r"config.model.projector is \{.*; it must be"),
        ("model.projector={64: 1}", r"config.model.projector is \{64: 1\}"),
        ("model.projector=()", r"config.model.projector is \(\)"),
        ("optimizer.learning_rate=nan", "config.optimizer.learning_rate is nan"),
        ("optimizer.step_epochs=(-1,)", r"config.optimizer.step_epochs is \(-1,\)"),
        ("roles=abc", "config.roles is 'abc'; it is a group"),
        ("roles.crop=3", "config.roles.crop is 3"),
        ("roles.flp=off", "config.roles names 'flp', which is not a part"),
        ("evaluation.options.no=3", r"config.evaluation.options has no budget \['no'\]"),
        ("evaluation.preset=abc", "config.evaluation.preset is 'abc'"),
        ("recipe.options.flip=2", "config.recipe.options.flip is 2"),
        ("objectives.info_nce.temperature=0", "config.objectives.info_nce.temperature is 0"),
        ("data.name.x=3", "config.data.name has no settings below it"),
        (
            "evaluation.options.preset=quick",
            r"config\.evaluation\.options .*evaluation.preset",
        ),
    ],
)
def test_command_lines(argument, message):
    with pytest.raises(ValueError, match=message):
        line = ["main", f"--config={ROOT}/configs/care_order.py", f"--config.{argument}"]
        before_reading(mutations.parsed(line))


FILE = """
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict
from eqssl_jax.config import base

def nested(depth):
    value = inner = {{}}
    for _ in range(depth):
        inner["a"] = inner = {{}}
    return value

def shared(depth, group=True):
    value = 1
    for _ in range(depth):
        value = {{"a": value, "b": value, "c": value}} if group else [value, value, value]
    return value

def get_config():
    config = base()
    own = {{}}
    own["a"] = own
    {body}
"""


@reads_files
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("config.recipe.options = nested(5000)", "file.py cannot be read: it has groups or lists"),
        ("config.recipe.options = nested(300)", r"config\.recipe\.options\S+ is nested more than"),
        ("config.recipe.options = own", r"config\.recipe\.options\S+ is nested more than 16"),
        ("config.data.options.all = config", r"config\.data\.options\S+ is nested more than 16"),
        ("config.recipe.options = {'a': [own]}", r"options\.a\[0\]\S+ is nested more than 16"),
        ("config.runs = {'a': config}", r"config\.runs\.a\S+ is nested more than 16"),
        ("config.recipe.options = shared(15)", r"config\.recipe\.options holds 21,523,360 values"),
        ("config.data.options.a = shared(14, group=False)", r"config\.data\.options holds 7,174"),
        ("config.recipe.options = shared(40)", r"config\.recipe\.options holds"),
        ("config.runs = {'a': {'data': shared(12)}}", r"config\.runs\.a holds 797,1\d\d values"),
        ("own['b'] = shared(12); config.runs = {'a': own}", r"config\.runs\.a holds"),
        ("config.runs = [dict(b=1)]", "sets 'runs' to .*, of type list, where .* ConfigDict must"),
        ("config.train.monitors = {'knn'}", r"sets 'monitors' to \{'knn'\}, of type set, where"),
        ("config.optimizer.learning_rate = len", "sets 'learning_rate' to .* of type float must"),
        ("config.train.batch_size = np.int64(8)", "to 8, of type numpy.int64, where .* type int"),
        ("config.model.projector = np.arange(3)", r"to \[0 1 2\], of type numpy.ndarray, where"),
        ("config.recipe.options.a = {1: 2}", "config.recipe.options.a has an entry named 1"),
        ("config.recipe.options.a = np.arange(2)", r"options.a is array\(\[0, 1\]\); it must be"),
        (
            "config.knn.temperature = float('nan')",
            "config.knn.temperature is nan; it must be",
        ),
        ("config.seed = 10**5000", "config.seed is a whole number of 16,610 bits"),
        ("config = None", r"the file gives no config; its get_config\(\) must return a ConfigDict"),
        ("config = {}", "the file gives no config"),
        ("config = FrozenConfigDict(config)", "the file gives no config"),
        ("config = ConfigDict()", "config.seed is missing"),
    ],
)
def test_what_a_config_file_may_return_and_set(tmp_path, body, message):
    (tmp_path / "file.py").write_text(FILE.format(body=f"{body}\n    return config"))
    with pytest.raises(ValueError, match=message) as refused:
        checked(mutations.parsed(["main", f"--config={tmp_path}/file.py"]))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


def test_a_config_that_is_none_is_refused_from_python_too():
    for wrong in (None, {}, "care"):
        with pytest.raises(ValueError, match=r"The config is .*; it must be a ConfigDict"):
            checked(wrong)
    config = base()
    config.recipe.options = ConfigDict()
    inner = config.recipe.options
    for _ in range(3000):
        inner.a = inner = ConfigDict()
    with pytest.raises(ValueError, match="The config has groups or lists within one another"):
        checked(config)
    config = base()
    config.recipe.options.size = np.int64(32)  # NumPy's numbers are numbers
    assert plain(checked(config))["recipe"]["options"] == {"size": 32}


@reads_files
def test_entries_of_free_groups_need_not_be_in_the_file():
    line = ["main", f"--config={ROOT}/configs/simclr.py:shapes"]
    entries = ["data.options.outlines=4", "objectives.vicreg.variance=3", "roles.crop=off"]
    config = mutations.parsed([*line, *[f"--config.{entry}" for entry in entries]])
    assert (config.data.options.outlines, config.roles.crop) == (4, "off")
    assert expand(config)[""].objectives.vicreg.variance == 3.0


def test_a_stored_config_without_a_group_is_damaged_and_one_without_a_setting_is_older(tmp_path):
    stored, path = plain(base()), tmp_path / "config.json"
    stored["objectives"] = {"info_nce": {"method": "simclr"}}
    del stored["model"]["joint_views"], stored["monitor"]  # as versions before them wrote it
    path.write_text(json.dumps(stored))
    assert read_config(tmp_path).model.joint_views is False
    for name in ("data", "model", "recipe", "objectives", "optimizer", "train", "evaluation"):
        emptied = {**stored, name: {}} if name != "objectives" else {}
        for damaged in (emptied, {k: v for k, v in stored.items() if k != name}):
            path.write_text(json.dumps(damaged))
            with pytest.raises(ValueError, match=rf"{path} is damaged .*config\.{name}"):
                read_config(tmp_path)
    for damaged in ("{}", "null", "[" * 100_000):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=f"{path} is damaged"):
            read_config(tmp_path)


def test_what_a_recipe_cannot_do_without_is_named():
    with pytest.raises(ValueError, match=r"config\.recipe\.options\.blur_sigma is \(\), which the"):
        methods.build_recipe("simclr_cifar", {"size": 32, "blur_sigma": ()})
    assert "blur" not in methods.build_recipe("factors", {"size": 32, "blur_sigma": ()}).identity


def test_a_folder_of_runs_names_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="Give the --workdir that training"):
        read_config(tmp_path)
    for name in ("simclr", "care"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"It holds runs: give one of .*care, .*simclr"):
        read_config(tmp_path)
