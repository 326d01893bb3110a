"""HTML from Python: elements that escape what they hold, so that no name can become markup."""

from collections.abc import Iterable
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
