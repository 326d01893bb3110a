"""The documentation site: a page for each card, links that lead somewhere, a clean build."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eqssl_jax import measures, methods

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def cards():
    sys.path.insert(0, str(DOCS))
    try:
        yield importlib.import_module("cards")
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def pages(cards):
    return cards.pages()


def test_every_card_has_a_page_with_all_its_settings(pages):
    wanted = {f"methods/{name}": card for name, card in methods.cards().items()}
    wanted |= {f"measures/{card.name}": card for card in measures.built_in()}
    for name, card in wanted.items():
        assert all(f"`{setting}`" in pages[name] for setting in card.settings), name
        assert card.source in pages[name]
        assert f"({name.split('/')[1]}.md)" in pages[f"{name.split('/')[0]}/index"]
    for card in measures.built_in():
        assert all(f"`{output.name}" in pages[f"measures/{card.name}"] for output in card.outputs)


def written() -> dict[Path, str]:
    """The Markdown of every page that is written by hand."""
    out = {path: path.read_text() for path in [*ROOT.glob("*.md"), *(ROOT / "launch").glob("*.md")]}
    for path in DOCS.rglob("*.md"):
        if not {"_build", "generated"} & set(path.relative_to(DOCS).parts):
            out[path] = path.read_text()
    for path in (DOCS / "tutorials").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        out[path] = "\n".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
        )
    return out


def anchors(text: str) -> set[str]:
    """What a link may name after "#": the headings, as GitHub and the site write them.

    >>> anchors("## What it costs, in s")
    {'what-it-costs-in-s'}
    """
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def test_every_link_leads_somewhere(pages):
    generated = {DOCS / "generated" / f"{name}.md" for name in pages}
    pages_of, broken = written(), []
    for path, text in pages_of.items():
        for link in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if re.match(r"[a-z]+:", link):
                continue
            place, _, anchor = link.partition("#")
            target = (path.parent / place).resolve() if place else path
            there = target.exists() or target in generated
            if not there or (anchor and anchor not in anchors(pages_of.get(target, ""))):
                broken.append(f"{path.relative_to(ROOT)}: {link}")
    assert not broken


def test_every_picture_says_what_it_shows():
    for path, text in written().items():
        outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        assert not re.findall(r"!\[\s*\]\(", outside), path
        for block in re.findall(r"```\{(?:image|figure)\}.*?```", text, re.DOTALL):
            assert re.search(r"^:alt: \S", block, re.MULTILINE), f"{path}: {block}"


def test_every_page_is_in_the_contents():
    """Sphinx says so too, but only when the whole site is built."""
    index = (DOCS / "index.md").read_text().split()
    pages = {path.with_suffix("").name for path in DOCS.glob("*.md")} - {"index"}
    pages |= {f"tutorials/{path.stem}" for path in (DOCS / "tutorials").glob("*.ipynb")}
    assert pages <= set(index)


def test_tutorials_show_no_error_and_no_path_of_a_machine():
    for path in (DOCS / "tutorials").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        for output in (output for cell in cells for output in cell.get("outputs", ())):
            assert output["output_type"] != "error", path.name
            assert not re.search(r"/(tmp|home|root|work)/", json.dumps(output)), path.name


@pytest.mark.long
@pytest.mark.parametrize(
    "path", sorted((DOCS / "tutorials").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_a_tutorial_runs_and_fails_only_where_it_shows_so(path, cards, monkeypatch):
    for needed in ("nbclient", "ipykernel"):
        pytest.importorskip(needed)
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # the tests' eight devices
    for name, first in (("PATH", Path(sys.executable).parent), ("PYTHONPATH", ROOT)):
        monkeypatch.setenv(name, f"{first}{os.pathsep}{os.environ.get(name, '')}")
    book = importlib.import_module("notebooks").executed(path)  # a cell that raises ends it

    def errors(cells):
        """Of commands, which a notebook goes on after."""
        text = json.dumps([cell.get("outputs", []) for cell in cells])
        return re.findall(r"Traceback|Error: [\w.]+", text)

    assert errors(book.cells) == errors(json.loads(path.read_text())["cells"])


def test_docstrings_become_text_in_which_bars_and_stars_are_themselves(cards):
    given = ["of `a*b` | c*", ">>> f(*x)", "`z`s of z_ and z_a"]
    assert cards.as_rst(given) == [
        r"of \ ``a*b``\  \| c\*", ">>> f(*x)", r"\ ``z``\ s of z\_ and z_a",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_without_a_network(tmp_path):
    for needed in ("sphinx", "furo", "myst_nb"):
        pytest.importorskip(needed)
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees"),
         str(DOCS), str(tmp_path / "site")],
        capture_output=True, text=True, check=False, env={**os.environ, "XLA_FLAGS": ""},
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    site = tmp_path / "site"
    assert {"care.html", "simclr.html"} <= {path.name for path in site.rglob("*.html")}
    for path in site.rglob("*.html"):
        text = path.read_text()
        loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?:[^\"]+)", text)
        assert not loaded, path
        if path.name == "genindex.html" or "_downloads" in path.parts:
            continue
        silent = [image for image in re.findall(r"<img[^>]*>", text) if ' alt="' not in image]
        assert not silent and ' alt=""' not in text, path
        # A wide table scrolls in its frame, so that the page does not on a phone.
        assert text.count("<table") <= text.count("table-wrapper"), path
