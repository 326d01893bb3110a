"""From a config to what advice trains, with every check that can be made before."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from eqssl_jax.advice.bench import check_images
from eqssl_jax.advice.candidates import Candidate, candidates, gated_method, gates
from eqssl_jax.methods.entries import OF_ROLES
from eqssl_jax.settings import LARGEST
from eqssl_jax.training.checks import check_batch
from eqssl_jax.training.initial import source_of
from eqssl_jax.training.setup import Setup, setup

CONTRASTS = ("simclr", "alignment", "uniformity")  # what candidates are trained with


def prepare(config: ConfigDict, workdir: Path | None = None) -> tuple[Setup, list[Candidate]]:
    """What is trained, and the candidates; everything that can be refused early is.

    Advice that goes on in `workdir` keeps the statistics of its networks.

    Raises:
      ValueError: for settings or data that cannot work.
    """
    run = setup(config, roles=config.advice.roles, workdir=workdir)
    config = run.config  # checked, in the types of its settings
    check(run)
    check_images(run)
    tables = candidates(config, run.recipe)
    used = {(part, line.role) for one in tables for part, line in one.table.items()}
    first = jax.tree.map(lambda leaf: leaf[0], gates([tables[0].table]))
    # Roles that are tried may need what the config's own do not, such as a batch of equal groups.
    check_batch(run.config, gated_method(run.config, run.recipe, first, used), run.mesh.size)
    return run, tables


def check(run: Setup) -> None:
    """Settings of config.advice must be possible, and every candidate trained as they say.

    Raises:
      ValueError: naming the setting.
    """
    seed, seeds = run.config.seed, run.config.advice.seeds
    if seed + seeds > LARGEST:
        raise ValueError(
            f"config.seed is {seed} and config.advice.seeds {seeds}: the last seed must be below "
            f"{LARGEST}."
        )
    if run.split.load is not None:
        raise ValueError(
            "Advice trains many encoders on data that lives on the device, and this data is "
            "streamed: set --config.data.on_device=always, or make images smaller (data.size)."
        )
    if source := source_of(run.config):
        raise ValueError(
            f"Advice trains every candidate from weights that it draws, and {source}: leave it "
            f"empty."
        )
    entries = run.config.objectives
    others = [f"{key} ({values.method})" for key, values in entries.items() if _other(values)]
    if others:
        raise ValueError(
            f"Advice compares roles under {', '.join(CONTRASTS)}, with the usual objectives of "
            f"roles; this config trains {', '.join(others)}: set their weights to 0."
        )
    if recipes := [key for key, values in entries.items() if values.get("recipe")]:
        raise ValueError(
            f"Advice gives each part of one recipe its role, and config.objectives.{recipes[0]}"
            f".recipe = {entries[recipes[0]].recipe!r} is a second one: set it to ''."
        )
    forms = {values.form for values in entries.values() if values.method == "care"}
    if run.config.model.geometry != "sphere" or forms - {"euclidean"}:
        raise ValueError(
            f"Advice compares encoders on the unit sphere, and config.model.geometry is "
            f"{run.config.model.geometry!r}, config.objectives.equivariance.form "
            f"{', '.join(map(repr, forms)) or 'not set'}: set them to 'sphere' and 'euclidean'."
        )


def _other(values: ConfigDict) -> bool:
    return values.weight > 0 and values.method not in (*CONTRASTS, *OF_ROLES.values())


def decided_by(run: Setup) -> str:
    """The metric that decides: the probe where there are labels."""
    labelled = run.dataset.splits["train"].labels is not None
    return "probe_top1" if labelled and len(run.dataset.classes) > 1 else "label_free"
