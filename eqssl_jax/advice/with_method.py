"""What a candidate trains whose base has one method more, and whether it can.

Its step is a program of its own, that of `eqssl_jax.train` with the same config: it has no place in
the program that all tables of roles share. So the running averages of BatchNorm see its own view
sets alone, where those of tables of roles see the view sets of all roles that are tried.
"""

import jax
from ml_collections import ConfigDict

from eqssl_jax.advice.candidates import Candidate
from eqssl_jax.data.labelled import labelled
from eqssl_jax.methods import assemble, entry, find, resolve, resolved, scheduled
from eqssl_jax.methods.roles import lines
from eqssl_jax.training.checks import check_batch, check_crops, check_labels
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.step import make_step

CONTRASTS = ("simclr", "alignment", "uniformity")  # what the base is trained with


def with_method(run: Setup, candidate: Candidate) -> Setup:
    """The run of a candidate: the base's, with the entry of its method, at the card's defaults.

    A card that compares the contrast views itself takes the place of what the base compares them
    with.

    Raises:
      ValueError: for what its card refuses, and for one that needs labels where there are none.
    """
    left_out = replaced(run.config, candidate)
    entries = {key: x for key, x in run.config.objectives.to_dict().items() if key not in left_out}
    config = ConfigDict(run.config.to_dict())
    config.objectives = {**entries, find(candidate.method).name: entry(candidate.method)}
    config = resolved(config)
    method = assemble(config, run.recipe, lines(resolve(config, run.recipe)))
    split = run.split
    if method.labelled:
        check_labels(config, run.stored)
        split = labelled(split, len(run.dataset.classes))
    return run._replace(config=config, method=scheduled(method, config, run.steps), split=split)


def replaced(config: ConfigDict, candidate: Candidate) -> list[str]:
    """The entries of config.objectives in whose place the method of a candidate is trained."""
    if not find(candidate.method).compares:
        return []
    return [key for key, values in config.objectives.items() if values.method in CONTRASTS]


def check_method(run: Setup, candidate: Candidate) -> None:
    """Trace a step of a candidate, so that all its card refuses is refused before anything is
    compiled.

    Raises:
      ValueError: naming the method, and what it cannot be trained with.
    """
    try:
        changed = with_method(run, candidate)
        check_batch(changed.config, changed.method, run.mesh.size)
        check_crops(run.stored, {key: spec.transform for key, spec in changed.method.views.items()})
        root = jax.random.key(0)
        step = make_step(run.network, changed.method, run.optimizer, changed.split.read, root)
        state = jax.eval_shape(changed.init)
        jax.eval_shape(step, state, changed.split.pool, changed.inputs_shape())
    except ValueError as error:
        raise ValueError(
            f"config.advice.methods names {candidate.method!r}, which cannot be tried here: {error}"
        ) from None


def entry_text(config: ConfigDict, candidate: Candidate) -> list[str]:
    """The lines of a config that add the method of a candidate to its base."""
    added = f'config.objectives.{find(candidate.method).name} = dict(method="{candidate.method}")'
    left_out = replaced(config, candidate)
    return [added, *(f"config.objectives.{key}.weight = 0.0" for key in left_out)]
