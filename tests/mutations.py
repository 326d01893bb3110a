"""Wrong values for settings, and whether the checks before a run refuse them as they should.

What is nonsense is listed here by the type of a setting and not read off the schema, which would
only find that the schema agrees with itself.
"""

import math
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from eqssl_jax import command
from eqssl_jax.advice.prepare import prepare
from eqssl_jax.config import copied
from eqssl_jax.experiment.run import expand
from eqssl_jax.settings import shown
from eqssl_jax.training.setup import setup

NAN, INF = math.nan, math.inf
ESCAPES = "\x1b[31mred\nline"
EVERYWHERE = (None, {"a": 1}, {}, {"a": {"b": [1]}}, [[1]], [10**5000], b"abc", {1, 2}, object())
NONSENSE = {
    bool: (2, -1, NAN, "abc", "", [], 1.5, *EVERYWHERE),
    int: (NAN, INF, -1, -(10**30), 2**31, 10**9, 10**30, 1.5, "", "abc", "3", [], True, ESCAPES,
          *EVERYWHERE),
    float: (NAN, INF, -INF, -1, -1e-9, 1e300, 10**400, 1e-300, "", "abc", "0.1", [], True, ESCAPES,
            *EVERYWHERE),
    str: ("", "abc", ESCAPES, "[bold]x[/none]", "a" * 100_000, 3, NAN, True, [], *EVERYWHERE),
    tuple: ("abc", "", 3, NAN, True, [], [NAN], [INF], [-1], [1.5], [10**9], [2**31], [None],
            [True], ["abc"], [""], [ESCAPES], [1] * 1000, *EVERYWHERE),
    ConfigDict: (3, NAN, "abc", "", [], True, {"a": 1}, {"no such": {}}, {ESCAPES: 1}, None),
}  # fmt: skip
# Where such a value has a meaning after all: pattern of the setting's name, and test of the value.
MEANINGFUL = (
    (r"(^|\.)(seed|steps|log_every|knn_every|save_every)$", lambda v: v == 10**9),
    (r"directory$|recipe$|init_from$", lambda v: v == ""),
    (r"directory$|init_from$", lambda v: v in ("abc", "[bold]x[/none]")),
    (
        r"(^log|step_epochs|byol\.hidden|prediction\.hidden|advice\.(parts|methods)|evaluation\.measures|train\.monitors)$",
        lambda v: v == [],
    ),
    (r"blur_sigma$|solarize$", lambda v: v == []),
    (r"step_epochs$", lambda v: v in ([1.5], [1] * 1000)),
    (r"_images$|outlines$|classes$|test_split$|manifest$", lambda v: v is None),
    (r"(role|roles|role_weights|sharing|runs|options|recipe_options)$", lambda v: v == {}),
    (r"options\.seeds$", lambda v: v == [10**9]),
    (r"^runs$", lambda v: v == {"no such": {}}),  # a run that changes nothing
    (r"options\.\w*(images|queries)$", lambda v: v == 10**9),  # at most so many
    # Names of parts and of a second recipe are looked up only by what uses them.
    (r"advice\.parts$", lambda v: all(isinstance(part, str) for part in v)),
    (r"recipe_options$", lambda v: isinstance(v, dict) and ESCAPES not in v),
    (r"(equivariance|evaluation)\.recipe$", lambda v: isinstance(v, str) and v.isprintable()),
)


class Hang(Exception):
    """A check that took too long."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every setting and every group of a config by dotted name, with its value."""
    for name, value in config.items():
        yield prefix + name, value
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")


# Names that functions behind free groups have for other things; no option is called so.
COLLIDING = {
    "data.options": ("size", "name", "directory", "seed", "views", "fit", "validation",
                     "on_device", "corrupt", "source"),
    "evaluation.options": ("preset", "cards", "options", "self"),
    "recipe.options": ("name", "setting", "group", "function", "expected", "options"),
}  # fmt: skip
UNKNOWN = ("no_such", "kwargs")
ADDED = (3, 0.5, "abc", (3,), True, None, {"a": 1})
LIMITS = ("abc", (3,), 1.5, True, 0, -1, {"a": 1})  # limit is an option of every source


def additions() -> Iterator[tuple[str, object]]:
    """Entries that free groups do not have, by dotted name, with a value."""
    for group, colliding in COLLIDING.items():
        for name in (*colliding, *UNKNOWN):
            for value in ADDED:
                yield f"{group}.{name}", value
    for value in LIMITS:
        yield "data.options.limit", value


def nonsense(value: object) -> tuple[object, ...]:
    """What is tried in place of a value."""
    return NONSENSE.get(type(value), NONSENSE[float])


def is_meaningful(name: str, value: object) -> bool:
    def holds(pattern: str, test) -> bool:
        try:
            return bool(re.search(pattern, name)) and bool(test(value))
        except TypeError:
            return False

    return any(holds(pattern, test) for pattern, test in MEANINGFUL)


def mutated(config: ConfigDict, name: str, value: object) -> ConfigDict:
    """A copy with one setting replaced, whatever the type of the new value."""
    copy = copied(config)
    *groups, last = name.split(".")
    holder = copy
    for group in groups:
        holder = holder[group]
    if last in holder:  # a ConfigDict would bring the new value to the type of the old one
        del holder[last]
    holder[last] = value
    return copy.lock()


def parsed(argv: list[str]) -> ConfigDict:
    """The config of a command line, by the function that the binaries call."""
    values = flags.FlagValues()
    flag = config_flags.DEFINE_config_file("config", None, "", flag_values=values)
    command.parsed(argv, values)
    return flag.value


def as_text(value: object) -> str | None:
    """A value as a user would write it on a command line; None for what has no such form."""
    if isinstance(value, list):
        value = tuple(value)
    if type(value) is object or value == (10**5000,) or len(str(value)) > 5000:
        return None
    return str(value)


def before_a_run(config: ConfigDict, binary: str, name: str = "", dataset=None) -> None:
    """What `main` or `advise` does before anything is compiled, as far as a setting takes part."""
    if binary == "advise":
        prepare(config)
        return
    runs = expand(config)
    changed = name.split(".")[1] if name.startswith("runs.") else ""
    for run_config in [runs[changed]] if changed in runs else list(runs.values())[:1]:
        run = setup(run_config, dataset=dataset)
        if name.startswith(("model.", "objectives.", "recipe.", "roles.")):
            jax.eval_shape(run.init)


def outcome(action, name: str) -> tuple[str, str]:
    """What became of a mutation: accepted, refused, or how that went wrong; and the message."""
    try:
        with limited(60):
            action()
    except Hang as error:
        return "hang", str(error)
    except (ValueError, OSError, flags.Error) as error:
        text = str(error)
        last = name.split(".")[-1]
        if last not in text and name not in text:
            return "unnamed", text
        if not text.isprintable() or len(text) > 1500:
            return "unreadable", text
        return "refused", text
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    return "accepted", ""


class Tally:
    """Counts of outcomes, and an example of each fault."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    def add(
        self, where: str, name: str, value: object, result: tuple[str, str], line: object = None
    ) -> None:
        """Judge a mutation by its value; `line` is the text that was given for it, if any."""
        kind, text = result
        if kind == "accepted":
            kind = "meaningful" if is_meaningful(name, value) else "accepted nonsense"
        self.counts[kind] += 1
        if kind not in ("refused", "meaningful"):
            self.faults.append(
                f"{kind}: {where} {name} = {shown(value)} {shown(line)} {text[:300]}"
            )
