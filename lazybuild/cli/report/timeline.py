"""The fetches of a build over time, layer by layer, under the steps that ran meanwhile. Pure.

Requests that run side by side stand in lanes. The picture does not grow with the build: what is too
close together to be told apart becomes one bar, the coarser the more there is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lazybuild.build.collect import Span
from lazybuild.build.journal import Journal
from lazybuild.cli.report.markup import Html, element, join
from lazybuild.cli.summary import amount
from lazybuild.snapshots.lazyfs.fetchlog import Fetch

LEFT, WIDTH, LANE, GAP, TOP = 120, 840, 7, 12, 22
STEP_LANE = 16
LETTER, SHORTEST_NAME = 6.2, 3  # how wide a letter is; fewer letters than that tell nothing
MOST_TICKS = 10
MOST_LANES, MOST_BARS = 12, 3000
GROUPS = {"asked": "asked", "direct": "asked", "toc": "toc", "whole": "whole", "fill": "fill"}
"""The colour of a bar by what the request was for; everything else was ahead of its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One request or more, in seconds; `lane` counts from 0."""

    begin: float
    end: float
    group: str
    lane: int
    requests: int = 1
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A layer's bars under the name that stands before them."""

    label: str
    bars: Sequence[Bar]

    @property
    def lanes(self) -> int:
        return max((bar.lane for bar in self.bars), default=0) + 1


def timeline(journals: Sequence[tuple[str, Journal]]) -> Html:
    """An SVG of the journals of one build, each with its label."""
    seconds = max([0.001, *(journal.seconds for _, journal in journals)])
    rows = _rows(journals, seconds)
    steps = journals[0][1].steps if journals else ()
    parts, y = list[Html](), TOP
    for maker, height in _bands(steps, rows, seconds):
        parts.append(element("g", *maker, transform=f"translate(0 {y})"))
        y += height + GAP
    return element(
        "svg",
        element("title", _alternative(rows, seconds)),
        join(_axis(seconds, y - GAP)),
        *parts,
        class_="timeline",
        viewBox=f"0 0 {LEFT + WIDTH} {y}",
        role="img",
    )


def _alternative(rows: Sequence[Row], seconds: float) -> str:
    count = sum(bar.requests for row in rows for bar in row.bars)
    return f"{count} requests for {len(rows)} layers in a build of {seconds:.2f} seconds"


def _bands(
    steps: Sequence[Span], rows: Sequence[Row], seconds: float
) -> Iterator[tuple[Sequence[Html], int]]:
    lanes = place([(step.begin, step.end) for step in steps])
    if steps:
        shown = [_step(step, lane, seconds) for step, lane in zip(steps, lanes, strict=True)]
        yield [_label("steps"), *shown], (max(lanes) + 1) * STEP_LANE
    for row in rows:
        bars = [_bar(bar, seconds) for bar in row.bars]
        yield [_label(row.label), *bars], row.lanes * LANE


def _label(text: str) -> Html:
    return element("text", text, x=0, y=9, class_="label")


def _step(step: Span, lane: int, seconds: float) -> Html:
    x, width = _place(step.begin, step.end, seconds)
    title = element("title", f"{step.name} ({step.begin:.2f} s to {step.end:.2f} s)")
    y = lane * STEP_LANE
    box = element("rect", title, x=x, y=y, width=width, height=STEP_LANE - 2, rx=2)
    room = int(width / LETTER) - 1  # letters that have room in it
    name = step.name if len(step.name) <= room else f"{step.name[: max(0, room - 1)]}…"
    words = [element("text", name, x=x + 4, y=y + 10.5)] if room >= SHORTEST_NAME else []
    return element("g", box, *words, class_="step")


def _bar(bar: Bar, seconds: float) -> Html:
    x, width = _place(bar.begin, bar.end, seconds)
    count = f"{bar.requests} requests" if bar.requests > 1 else "1 request"
    title = element("title", f"{bar.begin:.3f} to {bar.end:.3f} s: {count}, {amount(bar.size)}")
    y = bar.lane * LANE
    return element("rect", title, class_=bar.group, x=x, y=y, width=width, height=LANE - 1)


def _place(begin: float, end: float, seconds: float) -> tuple[float, float]:
    """Left edge and width; nothing is too short to be seen."""
    left = min(max(begin, 0.0), seconds) * WIDTH / seconds
    right = min(max(end, 0.0), seconds) * WIDTH / seconds
    return LEFT + min(left, WIDTH - 1.5), max(1.5, right - left)


def _axis(seconds: float, height: int) -> Iterator[Html]:
    step = tick(seconds)
    for number in range(int(seconds / step) + 1):
        x = LEFT + number * step * WIDTH / seconds
        yield element("line", x1=x, x2=x, y1=TOP - 6, y2=height, class_="tick")
        yield element("text", f"{number * step:g} s", x=x + 3, y=10, class_="axis")


def tick(seconds: float) -> float:
    """A round number of seconds that gives no more than MOST_TICKS ticks."""
    step = 0.01
    while True:
        for factor in (1, 2, 5):
            if seconds / (step * factor) <= MOST_TICKS:
                return round(step * factor, 2)
        step *= 10


def place(spans: Sequence[tuple[float, float]]) -> list[int]:
    """For each span, in any order, the first lane that is free; the last one takes what is left."""
    lanes, free = [0] * len(spans), list[float]()
    for index in sorted(range(len(spans)), key=lambda number: spans[number]):
        begin, end = spans[index]
        lane = next((number for number, until in enumerate(free) if until <= begin), len(free))
        lane = min(lane, MOST_LANES - 1)
        if lane == len(free):
            free.append(end)
        free[lane] = max(free[lane], end)
        lanes[index] = lane
    return lanes


def _rows(journals: Sequence[tuple[str, Journal]], seconds: float) -> list[Row]:
    rows = [
        Row(label=label, bars=_bars(journal.fetches))
        for label, journal in journals
        if journal.fetches
    ]
    near = seconds / WIDTH
    while near < seconds and sum(len(row.bars) for row in rows) > MOST_BARS:
        rows = [replace(row, bars=merge(row.bars, near)) for row in rows]
        near *= 2
    return rows


def _bars(fetches: Sequence[Fetch]) -> list[Bar]:
    lanes = place([(it.begin, it.end) for it in fetches])
    return [
        Bar(
            begin=it.begin,
            end=it.end,
            group=GROUPS.get(it.why, "ahead"),
            lane=lane,
            size=it.length,
        )
        for it, lane in zip(fetches, lanes, strict=True)
    ]


def merge(bars: Sequence[Bar], near: float) -> list[Bar]:
    """Bars of one lane and one colour that are no further apart than `near` seconds as one."""
    found: list[Bar] = []
    for bar in sorted(bars, key=lambda bar: (bar.lane, bar.group, bar.begin)):
        if found and _meets(found[-1], bar, near):
            found[-1] = _joined(found[-1], bar)
        else:
            found.append(bar)
    return found


def _meets(last: Bar, bar: Bar, near: float) -> bool:
    same = (last.lane, last.group) == (bar.lane, bar.group)
    return same and bar.begin - last.end <= near


def _joined(last: Bar, bar: Bar) -> Bar:
    return replace(
        last,
        end=max(last.end, bar.end),
        requests=last.requests + bar.requests,
        size=last.size + bar.size,
    )
