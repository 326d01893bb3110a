"""Rival equivariant objectives and their measures against reference values.

EQSSL_JAX_GOLDEN names the file; without it the copy under tests/data is read. Keys are
`in/<group>.<name>`, `out/<group>.<value>` and `out/<group>.<value>.d_<input>`, a gradient. Each
group has one function here (`GROUPS`) from its inputs to all its values; what the file holds beyond
that fails by name, be it a value or an input that nothing reads.

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
from golden_groups import GROUPS, of_sie_head

FILE = Path(
    os.environ.get("EQSSL_JAX_GOLDEN", Path(__file__).parent / "data/equivariant_losses.npz")
)


TOLERANCE = 1e-5


class Inputs(dict):
    """Inputs that remember which of them were read."""

    def __init__(self, *args):
        super().__init__(*args)
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


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


def gradients(values, names):
    """{input: [values]} of the names "<value>.d_<input>"."""
    wanted = {}
    for value, _, key in (name.partition(".d_") for name in names):
        if key and value in values:
            wanted.setdefault(key, []).append(value)
    return wanted


def computed(group):
    """All values and gradients of a group, and the inputs that were read."""
    everything, names = reference()["in"], reference()["out"].get(group, {})
    function, measured = GROUPS[group]
    inputs = Inputs(everything.get(group, {}))
    values = {}

    def call(arrays):
        given = Inputs({**inputs, **arrays})
        extra = (everything,) if function is of_sie_head else ()
        outputs = function(given, *extra)
        inputs.read |= given.read
        return outputs

    if function:
        arrays = {key: jnp.asarray(value) for key, value in inputs.items()}
        shapes = jax.eval_shape(call, arrays)
        scalars = {name for name, shape in shapes.items() if not shape.shape}
        wanted = gradients(scalars, names)
        by = {key: arrays.pop(key) for key in wanted if key in arrays}

        @jax.jit
        def outputs_and_gradients(by, others):
            def losses(by):
                outputs = call({**others, **by})
                return {k: v for k, v in outputs.items() if k in scalars}, outputs

            return jax.jacrev(losses, has_aux=True)(by)[::-1] if by else (losses(by)[1], {})

        outputs, slopes = outputs_and_gradients(by, arrays)
        values = {name: np.asarray(value) for name, value in outputs.items()}
        values |= {
            f"{value}.d_{key}": np.asarray(slopes[value][key])
            for key in by
            for value in wanted[key]
        }
    if measured:
        values |= measured(inputs, values)
    return values, inputs.read


@pytest.mark.parametrize("group", GROUPS)
def test_values_and_gradients_meet_the_reference(group):
    wanted = reference()["out"].get(group, {})
    assert wanted, f"{FILE} holds no value of the group {group!r}: nothing would be compared."
    values, read = computed(group)
    unknown = [f"out/{group}.{name}" for name in wanted if name not in values]
    unknown += [f"in/{group}.{n}" for n in reference()["in"].get(group, {}) if n not in read]
    assert not unknown, (
        f"{FILE} holds keys that no function of this test computes or reads: {unknown}. Add them "
        f"to the function of the group {group!r}, or correct their names in the file."
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


def test_a_key_that_is_not_known_is_named(tmp_path, monkeypatch):
    with np.load(FILE) as file:
        np.savez(tmp_path / "more.npz", **file, **{"out/other.loss": 1.0, "strange": 2.0})
    monkeypatch.setattr(sys.modules[__name__], "FILE", tmp_path / "more.npz")
    reference.cache_clear()
    try:
        with pytest.raises(AssertionError, match=r"not know: \['out/other.loss', 'strange'\]"):
            test_every_group_is_known()
    finally:
        reference.cache_clear()
