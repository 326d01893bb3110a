"""What should be equivariant? Small encoders that differ in roles or methods, compared."""

from eqssl_jax.advice.candidates import Candidate, candidates
from eqssl_jax.advice.prepare import show_plan
from eqssl_jax.advice.run import advise
from eqssl_jax.advice.verdict import verdicts
