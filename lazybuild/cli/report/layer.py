"""One layer of a report: how it is read, the map of its blob, what its requests were for. Pure."""

from collections.abc import Iterator, Sequence

from lazybuild.build.inspection import EAGER, LAZY, LOCAL, LayerView
from lazybuild.build.journal import Journal
from lazybuild.cli.report.blob import field
from lazybuild.cli.report.markup import Html, element, join
from lazybuild.cli.report.parts import count, legend, names, shown_time, table
from lazybuild.cli.summary import amount
from lazybuild.request import LayerStats

PURPOSES = {
    "asked": "a step waited for it",
    "ahead": "read on behind what a step waited for",
    "prefetch": "prefetched: an access profile or the layer's own order names it",
    "expected": "the step's command names it",
    "speculation": "guessed from what was read",
    "later": "the command of a later step names it",
    "fill": "the rest of the layer, in the background",
    "toc": "the table of contents",
    "direct": "read by the builder for COPY or ADD",
    "whole": "the whole layer, which is not lazy",
}
LEGEND = (
    ("asked", "fetched when it was read"),
    ("ahead", "prefetched, then read"),
    ("spare", "prefetched, not read"),
    ("kept", "read from the cache"),
    ("toc", "table of contents"),
    ("none", "untouched"),
)
WHOLE = (("whole", "fetched because the layer is not lazy"), ("none", "untouched"))


def section(number: int, layer: LayerView, most: int) -> Html:
    """`most` is how many cells its map may have."""
    badges = [(layer.mode, layer.mode), (layer.format, "plain")]
    return element(
        "section",
        element(
            "h2",
            f"Layer {number}",
            *(element("span", words, class_=f"badge {kind}") for words, kind in badges),
        ),
        element("p", element("code", layer.descriptor.digest), class_="soft"),
        element("p", f"{amount(layer.descriptor.size)} · {_why(layer)}"),
        *(_journal(layer, layer.journal, most) if layer.journal else ()),
        *names("Files that come first in it", layer.prefetch),
        *names("Files that steps used, in order", layer.used),
        _facts(layer),
    )


def _why(layer: LayerView) -> str:
    if layer.reason:
        return layer.reason
    if layer.mode == LOCAL:
        return "it is in the store"
    unread = "" if layer.journal else ", and no build of this store has read it yet"
    return f"it can be mounted before it is here{unread}"


def _journal(layer: LayerView, journal: Journal, most: int) -> Iterator[Html]:
    of = journal.layer
    told = f"{of.mode}: {of.reason}" if of.reason else of.mode
    besides = ", beside its table of contents" if of.mode == LAZY else ""
    picture = field(journal, layer.landmark, most)
    caption = (
        f"Read {told} by the build of {shown_time(journal.began)}:"
        f" {amount(of.bytes_fetched)} in {count(of.requests, 'request')}{besides}."
        f" A cell of the map is {amount(picture.cell)} of the blob."
    )
    yield element(
        "figure",
        element("figcaption", caption),
        legend(_states(layer, of.mode)),
        element("div", picture.svg, class_="scroll", tabindex="0"),
    )
    rows = list(_purposes(journal))
    if rows:
        head = ("Purpose", "Requests", "Bytes", "Of use")
        yield table("What its requests were for", head, rows)


def _states(layer: LayerView, mode: str) -> Sequence[tuple[str, str]]:
    if mode == EAGER:
        return WHOLE
    return (*LEGEND, ("first", "put first")) if layer.landmark else LEGEND


def _purposes(journal: Journal) -> Iterator[tuple[str, str, str, str]]:
    for why, words in PURPOSES.items():
        sizes = [fetch.length for fetch in journal.fetches if fetch.why == why]
        if sizes:
            yield words, str(len(sizes)), amount(sum(sizes)), _use(journal.layer, why)


def _use(layer: LayerStats, why: str) -> str:
    """How much of what was fetched for a reason was read."""
    fetched = layer.fetched_for.get(why, 0)
    return f"{100 * layer.used_of.get(why, 0) / fetched:.0f} %" if fetched else ""


def _facts(layer: LayerView) -> Html:
    first = f"{count(len(layer.prefetch), 'file')}, {amount(layer.landmark)}"
    pairs = {
        "Type": layer.descriptor.media_type,
        "Diff ID": layer.diff_id,
        "TOC": f"{layer.toc_digest}, {layer.files} entries" if layer.toc_digest else "",
        "Put first": first if layer.landmark else "",
        "From": ", ".join(layer.origins),
    }
    known = [(key, value) for key, value in pairs.items() if value]
    return element(
        "dl", *(join((element("dt", key), element("dd", value))) for key, value in known)
    )
