"""Tables of a page: captions, scopes, and a container of their own to scroll in."""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from eqssl_jax.page.markup import Node, tag

Groups = Sequence[tuple[str, int]]
Body = Mapping[str, Sequence[tuple[Node, Sequence[Node | Element]]]]


def html_table(
    caption: str,
    columns: Sequence[str],
    body: Body,
    *,
    stub: str = "",
    groups: Groups = (),
    class_: str | None = None,
) -> Element:
    """A table whose rows and columns have headings.

    Args:
      caption: what it shows.
      columns: headings of all columns but the first.
      body: heading of a group of rows ("" for none) -> (row heading, cells) for each row; a cell
        that is a "td" element stands as it is.
      stub: heading of the first column.
      groups: (heading, columns) above the headings, from left to right; () for none.
      class_: of the table.
    """
    head = [tag("tr", _column(stub), map(_column, columns))]
    if groups:
        above = [tag("th", t, scope="colgroup", colspan=n) for t, n in groups]
        head.insert(0, tag("tr", tag("td"), above))
    bodies = []
    for heading, rows in body.items():
        lines = [
            tag("tr", tag("th", first, scope="row"), map(_cell, cells)) for first, cells in rows
        ]
        if heading:
            wide = tag("th", heading, scope="rowgroup", colspan=len(columns) + 1)
            lines.insert(0, tag("tr", wide, class_="group"))
        bodies.append(tag("tbody", lines))
    made = tag("table", tag("caption", caption), tag("thead", head), bodies, class_=class_)
    # Focusable, so that a keyboard can scroll it.
    return tag("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _column(text: str) -> Element:
    return tag("th", text, scope="col") if text else tag("td")


def _cell(content: Node) -> Element:
    if isinstance(content, Element) and content.tag == "td":
        return content
    return tag("td", content)
