"""Elements of HTML and SVG as text. What is not `Html` already is escaped on its way in: names in a
report come from images, and whoever made those may wish to be more than text. Pure.
"""

import html
import re
from collections.abc import Iterable

from lazybuild.cli.progress.escape import plain_text

_EMPTY = frozenset({"meta", "link", "rect", "line", "path"})
_DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Html(str):
    """Markup. Only this module makes it, and `style` for its own constant text."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """A string as text or attribute: no markup, no control character, no turning of the line."""
    if isinstance(text, Html):
        return text
    shown = _DIRECTION.sub(lambda match: f"\\u{ord(match[0]):04x}", plain_text(text))
    readable = shown.encode("utf-8", "backslashreplace").decode()
    return Html(html.escape(readable))


def join(parts: Iterable[str]) -> Html:
    return Html("".join(escaped(part) for part in parts))


def element(tag: str, /, *children: str, **attributes: str | float) -> Html:
    """`<tag attribute="…">children</tag>`; `class_` and `aria_label` are class and aria-label."""
    pairs = [
        f' {key.rstrip("_").replace("_", "-")}="{escaped(_value(value))}"'
        for key, value in attributes.items()
    ]
    head = f"<{tag}{''.join(pairs)}>"
    if tag in _EMPTY and not children:
        return Html(f"{head[:-1]}/>")
    return Html(f"{head}{join(children)}</{tag}>")


def _value(value: str | float) -> str:
    """Numbers as short as a picture needs them."""
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
