"""The documentation site: `sphinx-build -W docs docs/_build`. It needs no network."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import eqssl_jax  # noqa: E402

project = "eqssl_jax"
html_show_copyright = False
author = "the eqssl_jax maintainers"
version = release = eqssl_jax.__version__
# For links to the sources, e.g. https://github.com/USER/eqssl_jax; "" leaves them out.
repository = os.environ.get("EQSSL_JAX_REPOSITORY", "")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb", "cards", "pictures"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache", "toc.no_title"]  # tables have no title

# Notebooks are shown with the outputs stored in them; -D nb_execution_mode=force runs them.
nb_execution_mode = "off"
nb_execution_timeout = 3600
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_use_param = False
napoleon_attr_annotations = False
maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"eqssl_jax {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = (
    {"source_repository": repository, "source_branch": "main", "source_directory": "docs/"}
    if repository
    else {}
)
