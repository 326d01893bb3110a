"""Which tables of roles are compared, and what they are as numbers."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from eqssl_jax import presets
from eqssl_jax.advice.candidates import SHARINGS, candidates, gates
from eqssl_jax.methods import Role, build_recipe, resolve


def small(**changes):
    """Roles for every factor of shapes and a flip; `changes` by key with "__" for dots."""
    config = presets.factored("shapes")
    config.recipe.options.flip = 0.5  # has no magnitude
    config.roles.flip = "invariant"
    config.lock()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def candidates_of(**changes):
    config = small(**changes)
    return candidates(config, build_recipe(config.recipe.name, config.recipe.options))


def test_the_base_comes_first_and_every_other_role_of_every_part_follows():
    config = small(roles__hue="off", roles__crop="ordered")
    recipe = build_recipe(config.recipe.name, config.recipe.options)
    tables = candidates(config, recipe)
    base = resolve(config, recipe)
    assert tables[0].changed is None and tables[0].name == "base"
    assert tables[0].table == base
    wanted = []
    for part in recipe.identity:
        for role in ("invariant", "ordered", "off"):
            if role != base[part].role and (part, role) != ("flip", "ordered"):
                wanted.append((part, role))
    assert [candidate.changed for candidate in tables[1:]] == wanted
    assert tables[1].name == "rotate_ordered"


def test_a_candidate_differs_from_the_base_in_its_part_alone():
    base, *others = candidates_of(advice__roles=("rotational", "ordered", "predicted", "off"))
    sharing = {
        "rotational": "independent", "ordered": "shared", "predicted": "independent",
        "off": "fixed",
    }  # fmt: skip
    for candidate in others:
        part, role = candidate.changed
        assert candidate.table[part] == Role(role, sharing[role])
        assert {p for p in candidate.table if candidate.table[p] != base.table[p]} == {part}
        assert list(candidate.table) == list(base.table)  # numbers go by position


def test_parts_without_a_magnitude_are_not_tried_as_ordered():
    tried = {candidate.changed for candidate in candidates_of(advice__roles=("ordered",))[1:]}
    assert ("flip", "ordered") not in tried
    assert ("rotate", "ordered") in tried
    still = candidates_of(advice__parts=("flip",))
    assert [candidate.changed for candidate in still[1:]] == [("flip", "off")]


def test_parts_and_roles_are_those_of_the_config_each_once():
    tables = candidates_of(advice__parts=("hue", "hue"), advice__roles=("off", "ordered", "off"))
    assert [candidate.changed for candidate in tables] == [None, ("hue", "off"), ("hue", "ordered")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advice__roles": ("of",)}, r"config\.advice\.roles names \['of'\]; choose from invar"),
        ({"advice__parts": ("hew",)}, r"config\.advice\.parts names \['hew'\].*'hue'"),
        ({"advice__roles": ("invariant",)}, "nothing to compare"),
        ({"advice__roles": ("ordered",), "advice__parts": ("flip",)}, "nothing to compare"),
        ({"advice__roles": ()}, "nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        candidates_of(**changes)


def test_gates_are_the_tables_as_numbers():
    config = small(roles__hue="predicted", roles__crop="rotational", roles__rotate="ordered")
    with config.unlocked():
        config.role_weights.hue, config.role_weights.rotate = 0.25, 2.0
        config.sharing.crop = "fixed"
        config.advice.roles = ("invariant", "ordered", "off", "rotational", "predicted")
    tables = [
        candidate.table
        for candidate in candidates(config, build_recipe(config.recipe.name, config.recipe.options))
    ]
    numbers = gates(tables)
    weights = {"ordered": "order", "rotational": "turning", "predicted": "prediction"}
    assert numbers.sharing.shape == (len(tables), len(tables[0]))
    for k, table in enumerate(tables):
        for p, line in enumerate(table.values()):
            assert SHARINGS[int(numbers.sharing[k, p])] == line.sharing
            assert int(numbers.off[k, p]) == (line.role == "off")
            for role, field in weights.items():
                expected = line.weight if line.role == role else 0
                assert float(getattr(numbers, field)[k, p]) == np.float32(expected)
    assert float(numbers.order[0].sum()) == 2.0 and float(numbers.prediction[0].sum()) == 0.25


def test_the_config_is_left_as_it_was():
    config = small()
    before = config.to_json()
    candidates(config, build_recipe(config.recipe.name, config.recipe.options))
    assert config.to_json() == before
    assert isinstance(config.roles, ConfigDict)
