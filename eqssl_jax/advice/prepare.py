"""From a config to what advice trains, with every check that can be made before."""

import jax
from ml_collections import ConfigDict

from eqssl_jax.advice.bench import check_images
from eqssl_jax.advice.candidates import Candidate, candidates, gates
from eqssl_jax.advice.gated import CONTRASTS, gated_method
from eqssl_jax.method import bases
from eqssl_jax.settings import LARGEST
from eqssl_jax.training.checks import check_batch
from eqssl_jax.training.setup import Setup, setup


def prepare(config: ConfigDict) -> tuple[Setup, list[Candidate]]:
    """What is trained, and the candidates; everything that can be refused early is.

    Raises:
      ValueError: for settings or data that cannot work.
    """
    run = setup(config)
    config = run.config  # checked, in the types of its settings
    check(run)
    check_images(run)
    tables = candidates(config, run.recipe)
    used = {(part, line.role) for one in tables for part, line in one.table.items()}
    first = jax.tree.map(lambda leaf: leaf[0], gates([tables[0].table]))
    # Roles that are tried may need what the config's own do not, such as a batch of equal groups.
    check_batch(config, gated_method(config, run.recipe, first, used), run.mesh.size)
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
    others = sorted(set(run.method.objectives) & (set(bases.NAMES) - set(CONTRASTS)))
    if others or run.config.objectives.equivariance.views != "own":
        raise ValueError(
            f"Advice compares roles under {', '.join(CONTRASTS)} with equivariance.views 'own'; "
            f"this config trains {', '.join(others) or 'those'} with views "
            f"{run.config.objectives.equivariance.views!r}: set the weights of others to 0."
        )
    if run.config.objectives.equivariance.recipe:
        raise ValueError(
            f"Advice gives each part of one recipe its role, and "
            f"config.objectives.equivariance.recipe = "
            f"{run.config.objectives.equivariance.recipe!r} is a second one: set it to ''."
        )
    asked = run.config.objectives
    if (asked.geometry, asked.equivariance.form) != ("sphere", "euclidean"):
        raise ValueError(
            f"Advice compares encoders on the unit sphere, and config.objectives.geometry is "
            f"{asked.geometry!r}, config.objectives.equivariance.form {asked.equivariance.form!r}: "
            f"set them to 'sphere' and 'euclidean'."
        )


def decided_by(run: Setup) -> str:
    """The metric that decides: the probe where there are labels."""
    labelled = run.dataset.splits["train"].labels is not None
    return "probe_top1" if labelled and len(run.dataset.classes) > 1 else "label_free"
