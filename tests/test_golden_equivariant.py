"""Rival equivariant objectives and their measures against reference values.

EQSSL_JAX_GOLDEN names the file; without it the copy under tests/data is read. Keys are
`in/<group>.<name>`, `out/<group>.<value>` and `out/<group>.<value>.d_<input>`, a gradient. Each
group has one function here (`GROUPS`) from its inputs to all its values, and a line that says which
of them have which gradients (`GRADIENTS`). What the file holds beyond that fails by name, be it a
value, a gradient or an input that nothing reads, and so does what it lacks of them.

Tolerance: 1e-5 of an array's root mean square, and of every single number; ranks and indices exact.
"""

import os
import sys
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_groups import GRADIENTS, GROUPS, of_sie_head

FILE = Path(
    os.environ.get("EQSSL_JAX_GOLDEN", Path(__file__).parent / "data/equivariant_losses.npz")
)


TOLERANCE = 1e-5


class Inputs(dict):
    """Inputs of a group that remember which of them were read, and say which is missing."""

    def __init__(self, group, arrays):
        super().__init__(arrays)
        self.group, self.read = group, set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)

    def __missing__(self, key):
        raise AssertionError(
            f"{FILE} lacks in/{self.group}.{key}, which the function of the group {self.group!r} "
            f"reads: restore the key in the file, or correct its name there."
        )


@cache
def reference():
    """{"in" or "out": {group: {name: value}}}; a key of another form is under "unknown"."""
    sides = {"in": {}, "out": {}, "unknown": {}}
    with np.load(FILE) as file:
        for key in file.files:
            side, _, entry = key.partition("/")
            group, dot, name = entry.partition(".")
            sorts = side in ("in", "out") and group in GROUPS and dot
            sides[side if sorts else "unknown"].setdefault(group if sorts else "", {})[
                name if sorts else key
            ] = file[key]
    return sides


def computed(group):
    """All values and gradients of a group, and the inputs that were read."""
    everything = {name: Inputs(name, arrays) for name, arrays in reference()["in"].items()}
    inputs = everything.get(group, Inputs(group, {}))
    function, measured = GROUPS[group]
    slopes_of = {value: names.split() for value, names in GRADIENTS.get(group, {}).items()}
    values = {}

    def call(arrays):
        given = Inputs(group, {**inputs, **arrays})
        outputs = function(given, *((everything,) if function is of_sie_head else ()))
        inputs.read |= given.read
        return outputs

    if function:
        arrays = {key: jnp.asarray(value) for key, value in inputs.items()}
        jax.eval_shape(call, arrays)  # an input that is missing is named here
        by = {
            key: arrays.pop(key) for key in {name for names in slopes_of.values() for name in names}
        }

        @jax.jit
        def outputs_and_gradients(by, others):
            def losses(by):
                outputs = call({**others, **by})
                return {value: outputs[value] for value in slopes_of}, outputs

            return jax.jacrev(losses, has_aux=True)(by)[::-1] if by else (losses(by)[1], {})

        outputs, slopes = outputs_and_gradients(by, arrays)
        values = {name: np.asarray(value) for name, value in outputs.items()}
        values |= {
            f"{value}.d_{key}": np.asarray(slopes[value][key])
            for value, keys in slopes_of.items()
            for key in keys
        }
    if measured:
        values |= measured(inputs, values)
    return values, inputs.read


@pytest.mark.parametrize("group", GROUPS)
def test_values_and_gradients_meet_the_reference(group):
    wanted = reference()["out"].get(group, {})
    values, read = computed(group)
    unknown = [f"out/{group}.{name}" for name in wanted if name not in values]
    unknown += [f"in/{group}.{n}" for n in reference()["in"].get(group, {}) if n not in read]
    assert not unknown, (
        f"{FILE} holds keys that no function of this test computes or reads: {unknown}. Add them "
        f"to the function of the group {group!r}, or correct their names in the file."
    )
    lacking = [f"out/{group}.{name}" for name in values if name not in wanted]
    assert not lacking, (
        f"{FILE} lacks keys with which values of the group {group!r} are compared: {lacking}. "
        f"Restore them in the file, or correct their names there."
    )
    for name, value in wanted.items():
        check(f"out/{group}.{name}", np.asarray(values[name]), value)


def check(key, computed, value):
    assert computed.shape == value.shape, f"{key}: shape {computed.shape}, expected {value.shape}"
    if np.issubdtype(value.dtype, np.integer):
        np.testing.assert_array_equal(computed, value, err_msg=key)
        return
    scale = np.sqrt(np.mean(value**2))
    error = np.abs(computed - value).max() / max(scale, 1e-30)
    assert error <= TOLERANCE, f"{key}: off by {error:.2e} of its root mean square"


def test_every_group_is_known():
    unknown = sorted(reference()["unknown"].get("", {}))
    assert not unknown, (
        f"{FILE} holds keys of groups that this test does not know: {unknown}. A key is "
        f"in/<group>.<name> or out/<group>.<value>, and each group needs a function in GROUPS."
    )


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """Writes the file without some keys and with others, and has it read in place of it."""

    def write(without=(), **more):
        with np.load(FILE) as file:
            kept = {key: file[key] for key in file.files if key not in without}
            assert len(kept) == len(file.files) - len(without)
        np.savez(tmp_path / "changed.npz", **kept, **more)
        monkeypatch.setattr(sys.modules[__name__], "FILE", tmp_path / "changed.npz")
        reference.cache_clear()

    yield write
    reference.cache_clear()


def test_a_key_of_a_group_that_is_not_known_is_named(changed):
    changed(**{"out/other.loss": 1.0, "strange": 2.0})
    with pytest.raises(AssertionError, match=r"not know: \['out/other.loss', 'strange'\]"):
        test_every_group_is_known()


@pytest.mark.parametrize("key", ["in/ser.more", "out/ser.more", "out/ser.tau0p5.d_more"])
def test_a_key_of_a_group_that_nothing_computes_or_reads_is_named(changed, key):
    changed(**{key: np.ones(2)})
    with pytest.raises(AssertionError, match=rf"computes or reads: \['{key}'\]"):
        test_values_and_gradients_meet_the_reference("ser")


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("in/ser.k", "ser"),
        ("in/sie.hyper_w", "sie_head"),  # which reads that of another group
        ("in/r2.colour_target", "r2"),
        ("out/ser.tau0p5", "ser"),
        ("out/ser.tau0p5.d_k", "ser"),
        ("out/r2.colour_pooled", "r2"),
    ],
)
def test_a_key_that_is_missing_is_named(changed, key, group):
    changed(without=[key])
    with pytest.raises(AssertionError, match=rf"lacks .*{key}\b.*[Rr]estore"):
        test_values_and_gradients_meet_the_reference(group)
