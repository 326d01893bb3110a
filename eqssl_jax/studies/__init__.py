"""Named studies: which runs, which numbers, beside which published ones."""

from collections.abc import Mapping

from eqssl_jax.studies.base import DataChoice, Outcome, Study
from eqssl_jax.studies.benchmark import BENCHMARK, TRIED_BENCHMARK
from eqssl_jax.studies.comparisons import (
    BASE_METHODS,
    BASE_METHODS_CARE,
    CARE_TABLE1,
    LAMBDA_SWEEP,
    LOSS_ABLATION,
    TWO_VIEWS,
)
from eqssl_jax.studies.geometry import CIRCLE, GAMMA, PROTEINS, RETRIEVAL, WAHBA
from eqssl_jax.studies.roles import ORDER_FACTORS, ROLE_OF_ROTATION
from eqssl_jax.studies.scales import SCALES, parse_data
from eqssl_jax.studies.weights import LAMBDA_CHOICE

STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        CARE_TABLE1,
        LAMBDA_CHOICE,
        WAHBA,
        CIRCLE,
        LAMBDA_SWEEP,
        GAMMA,
        RETRIEVAL,
        LOSS_ABLATION,
        PROTEINS,
        TWO_VIEWS,
        BASE_METHODS_CARE,
        BASE_METHODS,
        BENCHMARK,
        TRIED_BENCHMARK,
        ROLE_OF_ROTATION,
        ORDER_FACTORS,
    )
}


def find(name: str) -> Study:
    """A study by its name.

    Raises:
      ValueError: naming all there are.
    """
    if name not in STUDIES:
        raise ValueError(f"There is no table {name!r}: choose one of {', '.join(STUDIES)}.")
    return STUDIES[name]
