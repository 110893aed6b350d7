"""The page of a report: what an image is, what the last build fetched of it, layer by layer. Pure.

It holds no script and refers to nothing outside of itself; its own policy forbids both. What grows
with an image (cells, bars, names) is cut to a number that a page can bear, and says so.
"""

from collections.abc import Iterator, Sequence

from lazybuild.build.inspection import LayerView
from lazybuild.build.journal import Journal
from lazybuild.build.library import Found
from lazybuild.cli.report.blob import COLUMNS, SIDE
from lazybuild.cli.report.layer import section
from lazybuild.cli.report.markup import Html, element
from lazybuild.cli.report.parts import count, legend, shown_time, table
from lazybuild.cli.report.style import STYLE
from lazybuild.cli.report.timeline import timeline
from lazybuild.cli.summary import amount
from lazybuild.sources.images import Image

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MOST_CELLS = 16_384
BARS = (
    ("asked", "a step waited"),
    ("ahead", "ahead of its time"),
    ("fill", "the rest, in the background"),
    ("toc", "table of contents"),
    ("whole", "a whole layer"),
)


def report(found: Found, image: Image, layers: Sequence[LayerView]) -> str:
    """The whole document."""
    title = f"{found.reference.familiar} · lazybuild"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", STYLE),
    )
    body = element("body", _grid(), element("main", *_content(found, image, layers)), _footer())
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _grid() -> Html:
    """The lines between cells, for all fields of the page."""
    line = element("path", d=f"M0 0H{SIDE}M0 0V{SIDE}")
    pattern = element(
        "pattern", line, id="grid", width=SIDE, height=SIDE, patternUnits="userSpaceOnUse"
    )
    return element("svg", pattern, style="position:absolute;width:0;height:0", aria_hidden="true")


def _content(found: Found, image: Image, layers: Sequence[LayerView]) -> Iterator[Html]:
    yield element(
        "header",
        element("h1", found.reference.familiar),
        element("p", element("code", image.descriptor.digest), class_="soft"),
        element("p", _platform(image), class_="soft"),
    )
    last = latest(layers)
    yield _tiles(layers, last)
    if last:
        yield _build(last)
    else:
        yield element("section", element("p", "No build of this store has read any of it yet."))
    most = max(COLUMNS, MOST_CELLS // max(1, len(layers)))
    for number, layer in enumerate(layers, 1):
        yield section(number, layer, most)


def _platform(image: Image) -> str:
    config = image.config
    made = f", created {config.created}" if config.created else ""
    return f"{config.os}/{config.architecture}{made}"


def _footer() -> Html:
    return element("footer", "Made by lazybuild inspect --html. This page asks no network.")


def latest(layers: Sequence[LayerView]) -> list[tuple[str, Journal]]:
    """The journals of the last build that used any of the layers, with their layers' labels."""
    known = [
        (f"layer {number}", layer.journal)
        for number, layer in enumerate(layers, 1)
        if layer.journal is not None
    ]
    began = max((journal.began for _, journal in known), default=0.0)
    return [(label, journal) for label, journal in known if journal.began == began]


def _tiles(layers: Sequence[LayerView], last: Sequence[tuple[str, Journal]]) -> Html:
    size = sum(layer.descriptor.size for layer in layers)
    facts = [(amount(size), f"in {count(len(layers), 'layer')}")]
    if last:
        fetched = sum(journal.layer.bytes_fetched for _, journal in last)
        read = sum(journal.layer.bytes_read for _, journal in last)
        requests = sum(journal.layer.requests for _, journal in last)
        share = f"fetched, {100 * fetched / size:.0f} % of it" if size else "fetched"
        facts += [(amount(fetched), share), (str(requests), "requests")]
        facts += [(amount(read), "of lazy layers read"), (_length(last), "the build took")]
    return element("ul", *(_tile(*fact) for fact in facts), class_="tiles")


def _tile(figure: str, words: str) -> Html:
    return element("li", element("strong", figure), words)


def _length(last: Sequence[tuple[str, Journal]]) -> str:
    return f"{max(journal.seconds for _, journal in last):.2f} s"


def _build(last: Sequence[tuple[str, Journal]]) -> Html:
    left_out = sum(journal.left_out for _, journal in last)
    more = f" {count(left_out, 'more request')} came too late to be noted." if left_out else ""
    caption = f"Fetches of the build of {shown_time(last[0][1].began)}.{more}"
    return element(
        "section",
        element("h2", "The last build"),
        element(
            "figure",
            element("figcaption", caption),
            legend(BARS),
            element("div", timeline(last), class_="scroll", tabindex="0"),
        ),
        *_steps(last),
    )


def _steps(last: Sequence[tuple[str, Journal]]) -> Iterator[Html]:
    steps = last[0][1].steps
    fetches = [fetch for _, journal in last for fetch in journal.fetches]
    rows = []
    for step in steps:
        during = [it.length for it in fetches if step.begin <= it.begin <= step.end]
        amounts = (f"{step.end - step.begin:.2f} s", str(len(during)), amount(sum(during)))
        rows.append((step.name, *amounts))
    if rows:
        yield table(
            "What was fetched while each step ran", ("Step", "Time", "Requests", "Bytes"), rows
        )
