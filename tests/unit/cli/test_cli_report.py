"""The page of `inspect --html`: escaped, bounded, and drawn from what was noted of a build."""

import html.parser
import random

import pytest

from lazybuild.build.collect import Span
from lazybuild.build.inspection import LayerView
from lazybuild.build.journal import Journal
from lazybuild.build.library import Found
from lazybuild.cli.report import blob, markup, timeline
from lazybuild.cli.report.page import report
from lazybuild.oci import reference
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import DiffID, of
from lazybuild.oci.image import ImageConfig, Manifest
from lazybuild.request import LayerStats
from lazybuild.snapshots.lazyfs import blobmap
from lazybuild.snapshots.lazyfs.blobmap import Cell, Part
from lazybuild.snapshots.lazyfs.fetchlog import Fetch
from lazybuild.sources.images import Image

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'&\x1b[31m\u202e\udcff"


class Tags(html.parser.HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def stats(size=1 << 20, mode="lazy", **more):
    return LayerStats(digest=of(b"blob"), mode=mode, size=size, **more)


def journal(size=1 << 20, fetches=(), cells=(), steps=(), seconds=2.0, **more):
    return Journal(
        began=1e9, seconds=seconds, layer=stats(size, **more), fetches=tuple(fetches),
        count=blobmap.cells_for(size), cells=tuple(cells), steps=tuple(steps),
    )  # fmt: skip


def layer(noted=None, size=1 << 20, mode="lazy", **more):
    descriptor = Descriptor(media_type=OCI_LAYER_GZIP, digest=of(b"blob"), size=size)
    return LayerView(
        descriptor=descriptor, diff_id=DiffID(of(b"tar")), mode=mode, format="estargz",
        journal=noted, **more,
    )  # fmt: skip


def page(layers, **config):
    descriptor = Descriptor(media_type=OCI_MANIFEST, digest=of(b"manifest"), size=8)
    found = Found(reference=reference.parse("app:1"), descriptor=descriptor, stored=True)
    manifest = Manifest(media_type=OCI_MANIFEST, config=descriptor, layers=())
    image = Image(
        reference=found.reference, descriptor=descriptor, manifest=manifest,
        config=ImageConfig(**{"os": "linux", "architecture": "amd64", **config}),
    )  # fmt: skip
    return report(found, image, layers)


def test_nothing_that_an_image_says_becomes_markup():
    noted = journal(
        fetches=[Fetch(0.1, 0.2, 0, 10, "asked")],
        steps=[Span(name=f"RUN {HOSTILE}", begin=0.0, end=1.0)],
        reason=HOSTILE,
    )
    hostile = layer(
        noted, reason=HOSTILE, prefetch=(HOSTILE,), used=(HOSTILE,), origins=(HOSTILE,),
        toc_digest=HOSTILE, landmark=10,
    )  # fmt: skip
    made = page([hostile], created=HOSTILE, os=HOSTILE)
    found = Tags(made)
    assert not {"script", "img"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.text.count("<script>alert(1)</script>") >= 8
    assert "\x1b" not in made
    assert "\u202e" not in made
    made.encode()


def test_a_page_asks_nothing_of_anybody():
    made = page([layer(journal(fetches=[Fetch(0, 1, 0, 10, "asked")]))])
    found = Tags(made)
    links = [value for name, value in found.attributes if name in ("src", "href")]
    assert links == ["data:,"]
    assert "script-src" not in made
    assert [value for name, value in found.attributes if "default-src 'none'" in (value or "")]
    assert "url(" not in made.replace("url(#grid)", "")


def test_elements_escape_text_and_attributes_and_no_markup_twice():
    inner = markup.element("b", "<i>")
    assert inner == "<b>&lt;i&gt;</b>"
    assert markup.element("p", inner, class_='"x"', aria_label=1.5) == (
        '<p class="&quot;x&quot;" aria-label="1.5"><b>&lt;i&gt;</b></p>'
    )


def test_an_image_that_nobody_built_over_has_a_page_without_pictures():
    made = page([layer(), layer(mode="eager", reason="the blob has no TOC")])
    assert "No build of this store has read any of it yet" in made
    assert "the blob has no TOC" in made
    assert not {"rect", "figure"} & set(Tags(made).tags)


def test_a_huge_image_gives_a_small_page():
    """Twenty layers of a gigabyte, each with all that is ever noted of one."""
    chance = random.Random(1)
    size = 1 << 30
    whys = ["asked", "ahead", "prefetch", "fill", "toc", "speculation"]

    def fetch():
        begin = chance.uniform(0, 60)
        return Fetch(begin, begin + chance.uniform(0, 2), 0, 4096, chance.choice(whys))

    noted = journal(
        size=size,
        fetches=[fetch() for _ in range(2000)],
        cells=[Cell(number, *chance.choices((0, 9000, 900_000), k=4)) for number in range(1024)],
        steps=[Span(name="RUN " + "x" * 196, begin=i, end=i + 1) for i in range(64)],
        seconds=64.0,
    )
    names = tuple(f"usr/lib/{'n' * 60}/{number}" for number in range(20_000))
    one = len(page([layer(noted, size=size, prefetch=names, used=names)]))
    assert one < 600_000
    many = len(page([layer(noted, size=size, prefetch=names, used=names)] * 20))
    assert many < 4_000_000


def test_all_requests_are_in_the_timeline_however_few_bars_it_has():
    fetches = [Fetch(n / 100, n / 100 + 0.5, 0, 10, "asked") for n in range(2000)]
    made = timeline.timeline([("layer 1", journal(fetches=fetches, seconds=21.0))] * 5)
    assert made.count('class="asked"') <= timeline.MOST_BARS
    assert "10000 requests for 5 layers" in made


def test_requests_side_by_side_stand_in_lanes():
    assert timeline.place([(0, 2), (1, 3), (2, 4), (3, 5)]) == [0, 1, 0, 1]
    assert max(timeline.place([(0, 1)] * 40)) == timeline.MOST_LANES - 1


def test_near_bars_of_a_colour_are_one_and_others_are_not():
    bar = timeline.Bar(begin=0, end=1, group="asked", lane=0, size=5)
    near = timeline.Bar(begin=1.1, end=2, group="asked", lane=0, size=5)
    other = timeline.Bar(begin=1.1, end=2, group="ahead", lane=0)
    (joined,) = timeline.merge([near, bar], 0.2)
    assert (joined.begin, joined.end, joined.requests, joined.size) == (0, 2, 2, 10)
    assert len(timeline.merge([bar, other], 0.2)) == 2
    assert len(timeline.merge([bar, near], 0.05)) == 2


@pytest.mark.parametrize("seconds", [0.003, 0.7, 1.69, 9.9, 64, 4000])
def test_an_axis_has_some_round_ticks_and_not_too_many(seconds):
    assert 0 <= seconds / timeline.tick(seconds) <= 10
    assert seconds < 0.1 or seconds / timeline.tick(seconds) >= 3


def test_cells_hold_the_bytes_that_lie_in_them():
    parts = [Part(0, 150, "asked"), Part(150, 160, "ahead"), Part(990, 1000, "spare")]
    cells = blobmap.draw(parts, size=1000, count=10)
    assert cells == (Cell(0, asked=100), Cell(1, asked=50, ahead=10), Cell(9, spare=10))


@pytest.mark.parametrize(("size", "count"), [(1, 64), (63, 64), (1001, 64), (1 << 30, 1024)])
def test_every_byte_is_in_one_cell(size, count):
    cells = blobmap.draw([Part(0, size, "kept")], size=size, count=count)
    assert sum(cell.kept for cell in cells) == size
    assert all(0 <= cell.number < count for cell in cells)


def test_a_coarser_map_shows_the_same_bytes():
    cells = [Cell(0, asked=5), Cell(1, ahead=7), Cell(63, spare=9)]
    fewer, count = blob.fewer(cells, 64, 16)
    assert (fewer, count) == ([Cell(0, asked=5, ahead=7), Cell(15, spare=9)], 16)


def test_runs_of_equal_cells_end_with_the_row():
    kinds = dict.fromkeys([62, 63, 64, 65, 67], "asked s3")
    found = list(blob.runs(kinds))
    assert found == [(62, 2, "asked s3"), (64, 2, "asked s3"), (67, 1, "asked s3")]


def test_the_map_shows_where_the_prefetched_files_end_and_where_the_toc_was():
    noted = journal(
        size=1 << 20,
        fetches=[Fetch(0, 1, (1 << 20) - 100, 100, "toc")],
        cells=[Cell(0, asked=16384), Cell(1, spare=1)],
    )
    drawn = blob.field(noted, 40_000, 1024).svg
    assert 'class="asked s3"' in drawn
    assert 'class="spare s1"' in drawn
    assert 'class="toc"' in drawn
    assert f'd="{blob.outline(3)}"' in drawn
