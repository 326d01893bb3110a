"""HTML from Python: elements that escape what they hold, so that no name can become markup.

Tables have captions, scopes, and a container of their own to scroll in.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, tostring

Node = Element | str


def tag(name: str, /, *children: Node | Iterable[Node] | None, **attributes: Any) -> Element:
    """An element; text among its children is escaped when it is written.

    Args:
      name: of the element, e.g. "td".
      children: elements and texts, or iterables of them; None is nothing.
      attributes: a trailing "_" is dropped (`class_`), other "_" become "-"; None and False leave
        the attribute out, True gives it without a value.

    >>> markup(tag("p", "a < b ", tag("b", "& c"), class_="note"))
    '<p class="note">a &lt; b <b>&amp; c</b></p>'
    """
    named = {
        key.rstrip("_").replace("_", "-"): "" if value is True else str(value)
        for key, value in attributes.items()
        if value is not None and value is not False
    }
    made = Element(name, named)
    for child in children:
        for node in [child] if isinstance(child, str | Element) else child or ():
            _append(made, node)
    return made


def _append(parent: Element, node: Node) -> None:
    """ElementTree keeps text in its elements: before the first child, or after the last one."""
    if isinstance(node, Element):
        parent.append(node)
    elif len(parent):
        parent[-1].tail = (parent[-1].tail or "") + node
    else:
        parent.text = (parent.text or "") + node


def markup(node: Element) -> str:
    """The HTML of an element. What UTF-8 cannot hold (half a surrogate pair) becomes "?"."""
    text = tostring(node, encoding="unicode", method="html")
    return text.encode("utf-8", "replace").decode("utf-8")


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
