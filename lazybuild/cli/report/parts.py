"""What the sections of a report are put together from: keys to colours, tables, lists. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from lazybuild.cli.report.markup import Html, element

MOST_NAMES = 200


def shown_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def legend(states: Sequence[tuple[str, str]]) -> Html:
    return element("ul", *(_key(*state) for state in states), class_="legend")


def _key(state: str, words: str) -> Html:
    box = element("rect", class_=state, width=11, height=11, rx=2)
    return element("li", element("svg", box, viewBox="0 0 11 11", aria_hidden="true"), words)


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """The first column is words, the others are numbers."""
    return element(
        "table",
        element("caption", caption),
        element("thead", _row("th", head, scope="col")),
        element("tbody", *(_row("td", row) for row in rows)),
    )


def _row(tag: str, cells: Sequence[str], **more: str) -> Html:
    numbers = (element(tag, cell, class_="number", **more) for cell in cells[1:])
    return element("tr", element(tag, cells[0], **more), *numbers)


def names(title: str, found: Sequence[str]) -> Iterator[Html]:
    """A list to unfold; nothing when it is empty."""
    if not found:
        return
    shown = [element("li", element("code", name)) for name in found[:MOST_NAMES]]
    more = len(found) - len(shown)
    yield element(
        "details",
        element("summary", f"{title} ({len(found)})"),
        element("ol", *shown),
        *([element("p", f"and {more} more", class_="soft")] if more else ()),
    )


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
