"""Whether a layer's TOC and its tar stream tell the same story, for blobs that are here whole.

A lazy build believes the TOC, a plain one the tar; a blob whose views differ is hostile. Knows
bytes only. What a TOC does not hold (names of owners, headers of the TOC itself) is not compared.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from typing import BinaryIO

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names, streams, tar
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.toc import Toc, TocEntry, to_entry
from lazybuild.oci.digest import DiffID

_BLOCK = 1 << 20


def check_agreement(blob: BinaryIO, toc: Toc) -> DiffID:
    """Read the whole blob; returns the diff_id. Raises IntegrityError for the first difference."""
    content = _Hashed(streams.decompress(blob))
    seen = {item.entry.name: _told(item) for item in tar.read(content)}
    while content.read(_BLOCK):
        pass
    expected = {
        path: _listed(record, path) for path, record in zip(toc.paths, toc.entries, strict=True)
    }
    _compare(_without_own(seen), _without_own(expected))
    return DiffID("sha256:" + content.digest.hexdigest())


_Story = tuple[Entry, str]


def _told(item: Item) -> _Story:
    digest = ""
    if item.entry.kind is Kind.REG:
        found = hashlib.sha256()
        payload = item.open() if item.open else io.BytesIO()
        while data := payload.read(_BLOCK):
            found.update(data)
        digest = "sha256:" + found.hexdigest()
    return _comparable(item.entry), digest


def _listed(record: TocEntry, path: str) -> _Story:
    entry = to_entry(record, path)
    digest = record.digest or (record.chunk_digest if entry.size else names.EMPTY_DIGEST)
    return _comparable(entry), digest if entry.kind is Kind.REG else ""


def _comparable(entry: Entry) -> Entry:
    return replace(entry, uname="", gname="", xattrs=dict(entry.xattrs))


def _without_own(story: Mapping[str, _Story]) -> dict[str, _Story]:
    return {name: found for name, found in story.items() if name not in names.OWN_NAMES}


def _compare(seen: Mapping[str, _Story], expected: Mapping[str, _Story]) -> None:
    for name in seen.keys() | expected.keys():
        if seen.get(name) != expected.get(name):
            raise IntegrityError(f"TOC and tar stream differ at {names.shown(name)}")


class _Hashed(io.BufferedIOBase, BinaryIO):
    """A stream whose digest is taken as it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._stream.read(-1 if size is None else size)
        self.digest.update(data)
        return data

    read1 = read
