"""History and times of an image, by the rules of BuildKit's exporter."""

import pytest

from lazybuild.errors import IntegrityError
from lazybuild.oci import digest, mutate, times
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.digest import DiffID
from lazybuild.oci.image import History, ImageConfig, Manifest
from lazybuild.oci.mutate import LayerMeta

D1, D2 = (DiffID(digest.of(c)) for c in (b"1", b"2"))
T1, T2, T3 = "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "2022-01-01T00:00:00.5Z"


def line(by, created="", *, empty=False):
    return History(created=created, created_by=by, empty_layer=empty)


def test_times_come_from_layers_and_spread_to_metadata_lines():
    config = ImageConfig(
        history=(line("base", T1), line("env", empty=True), line("run"), line("cmd", empty=True))
    )
    done = mutate.finish(config, [LayerMeta(diff_id=D1), LayerMeta(diff_id=D2, created=T2)])
    assert [h.created for h in done.history] == [T1, T2, T2, T2]
    assert (done.created, done.diff_ids) == (T2, (D1, D2))


def test_only_metadata_on_a_base_takes_the_last_time():
    config = ImageConfig(history=(line("base", T1), line("env", empty=True)))
    done = mutate.finish(config, [LayerMeta(diff_id=D1)])
    assert [h.created for h in done.history] == [T1, T1]


def test_history_without_layers_is_called_empty():
    done = mutate.finish(ImageConfig(history=(line("a"), line("b"))), [LayerMeta(diff_id=D1)])
    assert [h.empty_layer for h in done.history] == [False, True]


def test_layers_without_history_get_a_line():
    metas = [LayerMeta(diff_id=D1, created=T1), LayerMeta(diff_id=D2, created=T2, description="x")]
    done = mutate.finish(ImageConfig(history=(line("a"),)), metas)
    assert done.history[1] == History(created=T2, created_by="x", comment=mutate.MADE_UP)


def test_the_epoch_spares_the_base_and_bounds_the_rest():
    base = (line("base", T2),)
    config = ImageConfig(history=(*base, line("run"), line("old", T1), line("bad", "yesterday")))
    metas = [LayerMeta(diff_id=D1, created=T3) for _ in range(4)]
    done = mutate.finish(config, metas, base_history=base, epoch=0)
    start = "1970-01-01T00:00:00Z"
    assert [h.created for h in done.history] == [T2, start, start, start]
    assert done.created == start


def test_append_keeps_what_is_there():
    descriptor = Descriptor(media_type=OCI_LAYER_GZIP, digest=digest.of(b"l"), size=1)
    config = Descriptor(media_type="c", digest=digest.of(b"c"), size=1)
    item = mutate.Addition(descriptor=descriptor, diff_id=D2, history=line("new"))
    manifest, image = mutate.append(
        Manifest(config=config, layers=(descriptor,)),
        ImageConfig(diff_ids=(D1,), history=(line("old"),)),
        [item],
    )
    assert manifest.layers == (descriptor, descriptor)
    assert (image.diff_ids, len(image.history)) == ((D1, D2), 2)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (-60_000_000_000_000_000_000, "0068-09-03T13:20:00Z"),
    ],
)
def test_times_round_trip(ns, text):
    assert times.format_ns(ns) == text
    assert times.parse_ns(text) == ns


def test_times_with_a_zone_and_times_that_are_none():
    assert times.parse_ns("1970-01-01T01:00:00+01:00") == 0
    for bad in ("", "now", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00", "1970-01-01T00:00:00Z\n"):
        with pytest.raises(IntegrityError):
            times.parse_ns(bad)
    with pytest.raises(IntegrityError):
        times.format_ns(10**30)
