"""A page as a browser reads it, and small things to show: for tests of what the report writes."""

import io
import itertools
from html.parser import HTMLParser

import numpy as np
from PIL import Image

VOID = {"meta", "img", "link", "br", "hr", "input", "source"}


class Page(HTMLParser):
    """Elements in order as (name, attributes, text); every end tag must close the open element."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {[self.elements[i][0] for i in self.open]}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data):
        for i in self.open:
            self.elements[i][2].append(data)

    def all(self, *names: str) -> list[tuple[str, dict[str, str | None], str]]:
        return [(n, a, "".join(t)) for n, a, t in self.elements if n in names]

    def text(self) -> str:
        return " ".join("".join("".join(t) for n, _, t in self.elements if n == "body").split())

    def rows(self, caption: str) -> list[list[tuple[dict[str, str | None], str]]]:
        """The cells of each row of the table with this caption."""
        table, inside = [], False
        for name, attributes, text in self.elements:
            if name == "table":
                inside = False
            elif name == "caption":
                inside = "".join(text) == caption
            elif inside and name == "tr":
                table.append([])
            elif inside and name in ("td", "th"):
                table[-1].append((attributes, "".join(text)))
        return table


def png(width=40, height=20, *, noise=False, colour=(255, 255, 255)):
    image = Image.new("RGB", (width, height), colour)
    if noise:
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
        image = Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def evaluation(step, knn, gram=0.1):
    def encoder(shift):
        return {
            "knn": {"value": knn - shift, "sd": None, "n": 500},
            "gamma": {"value": gram + shift, "sd": 0.0123, "n": 6},
            "kendall_tau_rotate": {"value": 1 / 3 - shift, "sd": None, "n": 6},
        }

    return {
        "step": step,
        "dataset": "shapes",
        "encoders": {"trained": encoder(0.0), "random": encoder(0.1), "pixels": {}},
        "chance": {"knn": 0.1},
        "skipped": {"r2_hue": "no hue"},
        "settings": {"split": "test"},
    }


def check(page):
    """What must hold of every page."""
    identities = [a["id"] for _, a, _ in page.all(*{n for n, _, _ in page.elements}) if "id" in a]
    assert len(set(identities)) == len(identities)
    for name, attributes, text in page.all(*{n for n, _, _ in page.elements}):
        assert name not in ("script", "link", "iframe", "object", "embed", "base")
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href", "srcset", "action", "poster", "data"):
            if key in attributes:
                assert attributes[key].startswith(("data:image/", "#")), attributes[key]
                if attributes[key].startswith("#"):
                    assert attributes[key][1:] in identities
        assert "url(" not in (attributes.get("style") or "")
        if name == "img":
            assert attributes["alt"] and int(attributes["width"]) and int(attributes["height"])
        if name == "style":
            assert "url(" not in text and "@import" not in text and "http" not in text
        if name == "th":
            assert attributes["scope"] in ("col", "row", "colgroup", "rowgroup")
    assert len(page.all("caption")) == len(page.all("table"))
    levels = [int(n[1]) for n, _, _ in page.all("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
