"""Layers in memory: items from literals, blobs as range readers, TOCs made by hand."""

import gzip
import hashlib
import io
import json

from lazybuild.estargz import footer, tarwrite
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.writer import WriterOptions, write_layer


class Bytes:
    """A blob in memory that notes each read and refuses those out of range."""

    def __init__(self, data):
        self.data = data
        self.reads = []

    @property
    def size(self):
        return len(self.data)

    def read_at(self, offset, length):
        self.reads.append((offset, length))
        assert 0 <= offset <= offset + length <= len(self.data)
        return self.data[offset : offset + length]


def file(name, data=b"", **more):
    opener = (lambda: io.BytesIO(data)) if data else None
    return Item(Entry(name=name, kind=Kind.REG, size=len(data), **more), opener)


def folder(name, **more):
    return Item(Entry(name=name, kind=Kind.DIR, **{"mode": 0o755, **more}))


def link(name, target, *, hard=False):
    kind = Kind.HARDLINK if hard else Kind.SYMLINK
    return Item(Entry(name=name, kind=kind, link=target, mode=0o777))


def write(items, *, hot=(), threads=1, **options):
    """The blob and what the writer says of it."""
    out = io.BytesIO()
    written = write_layer(
        items, out.write, hot=hot, options=WriterOptions(threads=threads, **options)
    )
    return out.getvalue(), written


def content(item):
    return item.open().read() if item.open else b""


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def raw_toc(entries, **more):
    return json.dumps({"version": 1, "entries": entries, **more}).encode()


def blob_with_toc(toc, payload=b""):
    """An eStargz blob around any TOC bytes; `payload` stands before the TOC as it is."""
    head = tarwrite.header(Entry(name="stargz.index.json", kind=Kind.REG, mode=0, size=len(toc)))
    tar = head + toc + tarwrite.padding(len(toc)) + tarwrite.END
    return payload + gzip.compress(tar, mtime=0) + footer.estargz(len(payload))
