"""`python -m eqssl_jax.advise`: train all candidates from every seed, measure, and advise.

Files of the workdir: config.json; data.json, what was trained on; seed_<s>/round_<r>/checkpoints
and evidence.json, beside them with_<method>/checkpoints of every method; advice.json, advice.md,
advice.csv, advice.png, and roles.py, the table of roles to paste into a config. Started again, it
goes on where it was.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial
from ml_collections import ConfigDict

from eqssl_jax.advice.bench import Bench, bench
from eqssl_jax.advice.candidates import Candidate
from eqssl_jax.advice.evidence import check_evidence, gather
from eqssl_jax.advice.fleet import (
    Fleet,
    alone,
    dropped,
    fleet,
    keep,
    merge,
    pick,
    stops,
    survivors,
    with_method,
)
from eqssl_jax.advice.prepare import decided_by, prepare, write
from eqssl_jax.advice.verdict import Evidence, verdicts
from eqssl_jax.data import batch_indices
from eqssl_jax.methods import find
from eqssl_jax.training import checkpoint
from eqssl_jax.training.alarms import Alarms
from eqssl_jax.training.loop import check_finite
from eqssl_jax.training.ownership import pin
from eqssl_jax.training.progress import Progress
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.workdir import LOCK, claim, locked, read_config, write_json


class Round(NamedTuple):
    """Train `tables` up to step `until`.

    Attributes:
      before: the candidates of the round before, none at first.
      every: all candidates that ever were, so that states of all rounds have the same heads.
    """

    number: int
    tables: Sequence[Candidate]
    until: int
    before: Sequence[Candidate]
    every: Sequence[Candidate]

    def programs(self) -> list["Round"]:
        """The same of the candidates of each program: all tables of roles, and every method."""
        methods = dict.fromkeys(candidate.method for candidate in self.tables)  # "": the base
        return [
            self._replace(
                tables=[candidate for candidate in self.tables if candidate.method == method],
                before=[candidate for candidate in self.before if candidate.method == method],
            )
            for method in methods
        ]

    def fleet(self, run: Setup) -> Fleet:
        """The candidates of one program."""
        if self.tables[0].method:
            return alone(with_method(run, self.tables[0]))
        return fleet(run, self.tables, among=self.every)

    def folder(self, workdir: Path, seed: int) -> Path:
        """That of the checkpoints of one program."""
        whole, method = workdir / f"seed_{seed}" / f"round_{self.number}", self.tables[0].method
        return whole / f"with_{find(method).name}" if method else whole


def advise(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Compare the candidates of a config, write the advice and print it.

    Raises:
      ValueError: for settings or data that cannot work, and a damaged config.json.
      OSError: when the workdir cannot be written, or a round's checkpoints are all damaged.
      FloatingPointError: if a candidate diverges.
    """
    if (workdir / "config.json").exists():
        read_config(workdir)  # refused if damaged, before any data are read
    run, tables = prepare(config, workdir)
    with locked(workdir, LOCK) as mine:
        if not mine:
            raise OSError(
                f"Another process is at work on the advice in {workdir}: wait until it has ended, "
                f"or use another --workdir."
            )
        return _advise(workdir, run, tables)


def _advise(workdir: Path, run: Setup, tables: list[Candidate]) -> dict[str, Any]:
    metric = decided_by(run)
    config = run.config  # complete, as folders hold it
    # Folders with checkpoints refuse another config, before it replaces that of the whole.
    for folder in sorted(workdir.glob("seed_*/round_*")):
        claim(folder, config)
    claim(workdir, config)
    pin(run, workdir)
    from_ = bench(run)
    advice: dict[str, Any] = {}
    now, before, gone = tables, list[Candidate](), dict[str, str]()
    for number, until in enumerate(stops(len(tables), config.advice.most, run.steps), 1):
        evidence = _round(run, Round(number, now, until, before, tables), from_, workdir)
        advised = verdicts(
            evidence,
            now,
            metric=metric,
            confidence=config.advice.confidence,
            resolution=1 / from_.held_out.size,
            dropped=gone,
        )
        advice = merge(advice, advised, gone)
        before, now = now, survivors(evidence, now, metric)
        gone = gone | dropped(before, now, until, gone)
    write(advice, tables, config, workdir)
    return advice


def read_evidence(
    path: Path, tables: Sequence[Candidate] = (), metric: str = "label_free"
) -> Evidence:
    """What a round measured from one seed: of these candidates, the base first, this metric, too.

    Raises:
      ValueError: naming the file, if it is damaged.
    """
    changed = {table.name: (table.changed[0],) for table in tables if table.changed}
    wanted = {table.name: [part for (part,) in changed.values()] for table in tables[:1]}
    metrics = {"info_nce", "natural", metric} - {"label_free"}
    try:
        evidence = json.loads(path.read_text(encoding="utf-8"))
        check_evidence(evidence, {**wanted, **changed}, sorted(metrics))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): remove it and start the same command again; only "
            f"what it held is measured anew."
        ) from None
    return evidence


def restore(folder: Path, like: TrainState) -> TrainState:
    """The latest states of a round."""
    manager = checkpoint.open_checkpoints(folder, read_only=True)
    try:
        return checkpoint.restore(manager, like)
    finally:
        manager.close()


def _round(run: Setup, now: Round, from_: Bench, workdir: Path) -> list[Evidence]:
    results = []
    # One of each for all seeds: its step is compiled once.
    programs = [(program, program.fleet(run)) for program in now.programs()]
    for seed in range(run.config.seed, run.config.seed + run.config.advice.seeds):
        folder = programs[0][0].folder(workdir, seed)
        path = folder / "evidence.json"
        claim(folder, run.config)
        if not path.exists():
            encoders = {"random": run.encoder(pick(programs[0][1].init(seed), 0))}
            for program, all_ in programs:
                states = _train(run, program, all_, seed, workdir)
                encoders |= _encoders(run, program, states)
            write_json(path, _measure(now, encoders, from_))
        results.append(read_evidence(path, now.tables, decided_by(run)))
    return results


def _train(run: Setup, now: Round, all_: Fleet, seed: int, workdir: Path) -> TrainState:
    """The candidates of a program up to the round's last step, from the latest checkpoint if there
    is one.
    """
    states = all_.init(seed)
    # Two, so that a damaged one has another before it.
    manager = checkpoint.open_checkpoints(now.folder(workdir, seed), keep=2)
    try:
        if (saved := checkpoint.resume(manager, states)) is not None:
            states = saved
        elif now.before:
            states = _earlier(run, now, seed, workdir)
        start = int(states.step[0])
        title = f", {now.tables[0].name}" if now.tables[0].method else ""
        label, batch = f"round {now.number}, seed {seed}{title}  ", run.config.train.batch_size
        alarms = {candidate.name: Alarms() for candidate in now.tables}
        with Progress(label, now.until, batch * len(now.tables), start=start) as progress:
            for step in range(start, now.until):
                rows = batch_indices(seed, step, run.split.size, batch)
                states, metrics = all_.advance(states, rows, seed)
                done = step + 1
                if done % run.log_every == 0 or done == now.until:
                    values = jax.device_get(metrics)
                    mean = {n: float(v.mean()) for n, v in values.items()}
                    _warn(alarms, done, values)
                    progress.tick(done)
                    progress.report(done, {"loss": mean["loss"]})
                if done % run.save_every == 0 or done == now.until:
                    check_finite(done, states)
                    checkpoint.save(manager, done, states, None)
            checkpoint.finish(manager)
    finally:
        manager.close()
    return states


def _warn(alarms: Mapping[str, Alarms], step: int, values: Mapping[str, np.ndarray]) -> None:
    """Print what is alarming in the numbers [K] of a step, with the candidate it is of."""
    for k, (name, alarm) in enumerate(alarms.items()):
        for warning in alarm.look(step, {key: float(row[k]) for key, row in values.items()}):
            print(f"Warning: {name}: {warning}", file=sys.stderr, flush=True)


def _earlier(run: Setup, now: Round, seed: int, workdir: Path) -> TrainState:
    """The states at the end of the round before, of the candidates that go on."""
    before = now._replace(number=now.number - 1, tables=now.before)
    states = restore(before.folder(workdir, seed), before.fleet(run).init(seed))
    names = [candidate.name for candidate in now.before]
    return keep(states, [names.index(candidate.name) for candidate in now.tables])


def _encoders(run: Setup, now: Round, states: TrainState) -> dict[str, Partial]:
    """The frozen encoders of a program by the names of its candidates."""
    return {c.name: run.encoder(pick(states, k)) for k, c in enumerate(now.tables)}


def _measure(now: Round, encoders: Mapping[str, Partial], from_: Bench) -> Evidence:
    parts = list(dict.fromkeys(c.changed[0] for c in now.tables if c.changed))
    wanted = {"random": parts}
    for candidate in now.tables:
        wanted[candidate.name] = [candidate.changed[0]] if candidate.changed else parts
    return gather(encoders, wanted, from_)
