"""Runs as one HTML file: no network, no scripts, images inside."""

from eqssl_jax.page.page import html_page
from eqssl_jax.page.runs import Run
