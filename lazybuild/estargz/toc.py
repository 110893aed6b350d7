"""The table of contents of a layer: JSON records, and the checked view that may be read from.

A `Toc` is made by `validate` alone, where the way from bytes to trust is. Door to msgspec in this
room. Values only, safe to share between threads.
Format: stargz-snapshotter docs/estargz.md, "TOC"; zstd:chunked's manifest is read as well.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import final

import msgspec

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names
from lazybuild.estargz.entry import Entry, Kind
from lazybuild.estargz.footer import Layout
from lazybuild.estargz.tarwrite import stored_name

VERSION = 1
MAX_TOC = 256 << 20
CHUNK = "chunk"
MAX_RECORDS = 3_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SLACK = 8192
"""How much longer than its payload a compressed piece may be: heads, trailers, empty blocks."""


class TocEntry(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """One record, its fields in the order Go writes them; `chunk` records continue a file."""

    name: str
    type: str
    size: int = 0
    modtime: str = ""
    link_name: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    user_name: str = ""
    group_name: str = ""
    offset: int = 0
    end_offset: int = 0
    inner_offset: int = 0
    dev_major: int = 0
    dev_minor: int = 0
    xattrs: dict[str, bytes] | None = None
    digest: str = ""
    chunk_offset: int = 0
    chunk_size: int = 0
    chunk_digest: str = ""
    chunk_type: str = ""


class Document(msgspec.Struct, omit_defaults=False, rename="camel"):
    """The whole JSON object; `tar_split_digest` is podman's. No entries at all are null in Go."""

    version: int
    entries: list[TocEntry] | None
    tar_split_digest: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file: bytes [offset, end) of the blob hold it compressed.

    `inner_offset` bytes of what they inflate to come before it; `file_offset` and `size` are its
    place in the file; `digest` is of the piece, "" only when the whole TOC was not verified.
    """

    offset: int
    end: int
    inner_offset: int
    file_offset: int
    size: int
    digest: str


_decoder = msgspec.json.Decoder(Document)
_encoder = msgspec.json.Encoder()
encode_entry = _encoder.encode


def parse(raw: bytes) -> list[TocEntry]:
    """JSON to records, bounded; what they say is not checked yet."""
    if len(raw) > MAX_TOC:
        raise IntegrityError(f"TOC of {len(raw)} bytes is too large")
    if raw.count(b"{") > MAX_RECORDS:  # each record has one, and costs far more than its bytes
        raise IntegrityError(f"TOC of more than {MAX_RECORDS} records is too large")
    try:
        document = _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise IntegrityError(f"TOC is not valid: {error}") from error
    if document.version != VERSION:
        raise IntegrityError(f"TOC version {document.version} is not known")
    return document.entries or []


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Toc:
    """A checked TOC: each name once, in blob order, every piece within the blob.

    Made by `validate.check` only. `paths` are the cleaned names of `entries`, one for one.
    """

    entries: tuple[TocEntry, ...]
    paths: tuple[str, ...]
    by_path: Mapping[str, TocEntry]
    digest: str
    layout: Layout
    data_end: int
    prefetch_end: int
    pieces: Mapping[int, Sequence[TocEntry]]
    offsets: Sequence[int]

    def lookup(self, path: str) -> TocEntry | None:
        """By cleaned name."""
        return self.by_path.get(path)

    def target(self, entry: TocEntry) -> TocEntry:
        """The file behind a hard link, or the entry itself."""
        while entry.type == Kind.HARDLINK:
            entry = self.by_path[names.clean(entry.link_name)]
        return entry

    def chunks(self, entry: TocEntry) -> tuple[Chunk, ...]:
        """The pieces of a regular file in file order; none for everything else."""
        if entry.type != Kind.REG or not entry.size:
            return ()
        # Keyed by identity: the entries live as long as this TOC does.
        rest = self.pieces.get(id(entry), ())
        if not rest:
            return (self._chunk(entry, entry.size, entry.chunk_digest or entry.digest),)
        sizes = chunk_sizes(entry, rest)
        return tuple(
            self._chunk(piece, size, piece.chunk_digest)
            for piece, size in zip((entry, *rest), sizes, strict=True)
        )

    def _chunk(self, piece: TocEntry, size: int, digest: str) -> Chunk:
        index = bisect_right(self.offsets, piece.offset)
        end = self.offsets[index] if index < len(self.offsets) else self.data_end
        most = piece.offset + piece.inner_offset + size
        most += (piece.inner_offset + size) // 256 + _SLACK
        return Chunk(
            piece.offset, min(end, most), piece.inner_offset, piece.chunk_offset, size, digest
        )


def chunk_sizes(entry: TocEntry, rest: Sequence[TocEntry]) -> list[int]:
    """Sizes of the first and further pieces; a size of 0 means "to the end of the file"."""
    return [piece.chunk_size or entry.size - piece.chunk_offset for piece in (entry, *rest)]


def to_entry(record: TocEntry, path: str | None = None) -> Entry:
    """The format-free view. `path` is the cleaned name where the caller has it."""
    name = names.clean(record.name) if path is None else path
    kind = Kind(record.type)
    link = record.link_name
    return Entry(
        name=name,
        kind=kind,
        mode=record.mode & 0o7777,
        uid=record.uid,
        gid=record.gid,
        uname=record.user_name,
        gname=record.group_name,
        size=record.size if kind is Kind.REG else 0,
        mtime=parse_time(record.modtime),
        link=names.clean(link) if kind is Kind.HARDLINK else link,
        major=record.dev_major,
        minor=record.dev_minor,
        xattrs=names.sane_xattrs(name, record.xattrs or {}),
    )


def from_entry(entry: Entry) -> TocEntry:
    """The record of an entry as its header says it; offsets and digests come later."""
    return TocEntry(
        name=stored_name(entry),
        type=entry.kind.value,
        size=entry.size,
        modtime=format_time(entry.mtime),
        link_name=entry.link,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        user_name=entry.uname,
        group_name=entry.gname,
        dev_major=entry.major,
        dev_minor=entry.minor,
        xattrs=dict(sorted(entry.xattrs.items())) if entry.xattrs else None,
        digest=names.EMPTY_DIGEST if entry.kind is Kind.REG and not entry.size else "",
    )


def parse_time(text: str) -> int:
    """RFC 3339 to nanoseconds, clamped to what a tar header holds; "" is the epoch."""
    if not text:
        return 0
    try:
        seconds = (datetime.fromisoformat(text) - _EPOCH) // timedelta(seconds=1)
    except (ValueError, TypeError, OverflowError) as error:
        raise IntegrityError(f"TOC has a time that is none: {names.shown(text)}") from error
    return names.clamp_seconds(seconds) * 1_000_000_000


def format_time(nanoseconds: int) -> str:
    """Whole seconds; the epoch itself is left out, as Go's writer does."""
    return _time_text(names.clamp_seconds(nanoseconds // 1_000_000_000))


@lru_cache(maxsize=4096)
def _time_text(seconds: int) -> str:
    if not seconds:
        return ""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
