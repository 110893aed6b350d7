"""A blob whose TOC says other than its tar is found out when it is read whole."""

import io
import json

import pytest
from support.agreement import check_agreement
from support.layers import Bytes, blob_with_toc, digest, file, folder, link, write

from lazybuild.errors import IntegrityError
from lazybuild.estargz import reader, tar
from lazybuild.estargz.tail import Compression
from lazybuild.estargz.writer import WriterOptions, write_plain

ITEMS = [
    folder("d"),
    file("d/a", b"alpha", uid=5, xattrs={"user.x": b"1"}),
    file("d/empty"),
    link("d/l", "a"),
]


@pytest.mark.parametrize("kind", [kind for kind in Compression if kind.lazy])
def test_honest_layers_agree(kind):
    blob, written = write(ITEMS, compression=kind, chunk_size=3)
    assert check_agreement(io.BytesIO(blob), written.toc) == written.diff_id


def forged(change):
    """The blob of ITEMS with a TOC that `change` has been at."""
    blob, written = write(ITEMS)
    document = json.loads(written.found.raw)
    entries = document["entries"]
    change(entries, next(e for e in entries if e["name"] == "d/a"))
    raw = json.dumps(document).encode()
    made = blob_with_toc(raw, blob[: written.found.data_end])
    return made, reader.open_toc(Bytes(made)).verify(digest(raw))


def test_the_forger_can_do_it_honestly():
    blob, toc = forged(lambda entries, a: None)
    assert check_agreement(io.BytesIO(blob), toc).startswith("sha256:")


@pytest.mark.parametrize(
    "change",
    [
        lambda entries, a: a.update(uid=0),
        lambda entries, a: a.update(mode=0o4755),
        lambda entries, a: a.update(digest=digest(b"other"), chunkDigest=digest(b"other")),
        lambda entries, a: a.pop("xattrs"),
        lambda entries, a: entries.remove(a),
        lambda entries, a: entries.append({"name": "d/more", "type": "fifo"}),
        lambda entries, a: entries[-1].update(linkName="b"),
        lambda entries, a: a.update(name="d/b"),
    ],
)
def test_each_lie_is_found(change):
    blob, toc = forged(change)
    with pytest.raises(IntegrityError, match="differ at"):
        check_agreement(io.BytesIO(blob), toc)


def test_an_archive_in_a_file_opens_in_any_order(tmp_path):
    path = tmp_path / "t.tar"
    with path.open("wb") as out:
        write_plain(ITEMS, out.write, options=WriterOptions(compression=Compression.NONE))
    with path.open("rb") as source:
        found = {item.entry.name: item for item in tar.index(source)}
        direct, _ = write(ITEMS, hot=["d/a"])
        assert write(list(found.values()), hot=["d/a"])[0] == direct
        assert [found["d/a"].open().read(2), found["d/a"].open().read()] == [b"al", b"alpha"]
    path.write_bytes(path.read_bytes()[:1538])
    with path.open("rb") as source, pytest.raises(IntegrityError, match="ends early"):
        tar.index(source)
