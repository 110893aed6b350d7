"""Blobs that stargz-snapshotter's own writer made (ctr-remote 0.12.0, `image optimize`)."""

from pathlib import Path

import pytest
from support import items
from support.agreement import check_agreement
from support.layers import Bytes, digest

from lazybuild.estargz import reader
from lazybuild.estargz.footer import Layout

DATA = Path(__file__).with_name("data")
CASES = [
    (
        "ctr-remote-0.12.estargz",
        Layout.ESTARGZ,
        "sha256:e174e3be1bb2b1dd78a49050d7da0e94865e076d3af7a90ef889c3477b9bc27b",
        "sha256:f946db517c06de07b77a97a15bb4d21c1edad657150c96a9dc5267a1c42a6256",
    ),
    (
        "ctr-remote-0.12.zstd-chunked",
        Layout.ZSTD,
        "sha256:87f9fc77827edfc5c8d6418b003ed71d4f3dc70052e43181b7d54388783c5714",
        "sha256:510517d5654aabf73d0230f14ae79e8196b50b7ab0cf8b2bd1645b565cbd426e",
    ),
]


@pytest.mark.parametrize(("name", "layout", "toc_digest", "diff_id"), CASES)
def test_the_reference_writers_blobs_are_read(name, layout, toc_digest, diff_id):
    ranges = Bytes((DATA / name).read_bytes())
    toc = reader.open_toc(ranges).verify(toc_digest)
    assert toc.layout is layout
    found = {item.entry.name: item for item in items.layer_items(ranges, toc)}
    assert found["etc/conf"].open().read() == b"setting\n" * 100
    assert digest(found["etc/big"].open().read()) == digest(bytes(range(256)) * 300)
    assert found["etc/hard"].entry.link == "etc/conf"
    assert found["etc/\u00fcml\u00e4ut"].open().read() == b"name"
    with (DATA / name).open("rb") as blob:
        assert check_agreement(blob, toc) == diff_id
