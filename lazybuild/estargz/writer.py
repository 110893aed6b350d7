"""Writes layers: eStargz, zstd:chunked in both flavours, and plain tar streams.

One pass: payload is read once, and every digest is taken on the way. The same items and options
give the same bytes whatever the number of threads. Memory is bounded by the window of `pool` plus
the TOC. Knows bytes only; where items come from and where `out` leads is the caller's.

    member 0       headers up to the first payload
    member n       payload (up to chunk_size), padding, headers up to the next payload
    last member    ... and two zero blocks, so that plain unpackers stop before the TOC
    TOC, footer    see `tail`
"""

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, final

from lazybuild.errors import BuildError, UsageError
from lazybuild.estargz import names, tail, tarwrite
from lazybuild.estargz.codec import compressor, identity
from lazybuild.estargz.earlier import Earlier
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.order import arrange
from lazybuild.estargz.pool import Packed, Piece, Pool
from lazybuild.estargz.tail import Compression, Written
from lazybuild.estargz.tarsplit import Checksum, TarSplit
from lazybuild.estargz.toc import CHUNK, TocEntry, encode_entry, from_entry
from lazybuild.oci.descriptor import TOC_DIGEST, UNCOMPRESSED_SIZE
from lazybuild.oci.digest import DiffID, Digest

__all__ = ["Compression", "NotUtf8Error", "WriterOptions", "Written", "write_layer", "write_plain"]

Output = Callable[[bytes], object]

CHUNK_SIZE = 4 << 20
_MOST_HEADERS = 4 << 20  # bytes in one member: a million empty files are not held in memory
_LANDMARK = b"\x0f"
_MAX_THREADS = 8


class NotUtf8Error(BuildError):
    """A name, link target or attribute name that a TOC, being JSON, can't hold."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"name is not UTF-8, so no table of contents can hold it: {names.shown(name)}"
        )
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """How to write. `level` None is the pinned default of the compression.

    Times above `epoch` (seconds) are lowered to it. `prefetch` off writes no landmark. `threads` 0
    is one more than the processors there are, since the caller's own thread mostly waits.
    """

    compression: Compression = Compression.ESTARGZ
    level: int | None = None
    chunk_size: int = CHUNK_SIZE
    epoch: int | None = None
    threads: int = 0
    prefetch: bool = True


_DEFAULTS = WriterOptions()


def write_layer(
    items: Iterable[Item],
    out: Output,
    *,
    hot: Sequence[str] = (),
    options: WriterOptions = _DEFAULTS,
    earlier: Earlier | None = None,
) -> Written:
    """Write the items as a layer that can be read lazily (or plainly, if the options say so).

    With `hot` names the items must be openable in any order. Without, they are streamed in the
    order given, which must have each hard link behind its target. Raises NotUtf8Error, before any
    output if `items` is a sequence. What `earlier`, written with the same compressor, has of the
    layer is taken from there; the bytes are the same with it and without.
    """
    if not options.compression.lazy:
        return write_plain(items, out, options=options)
    if options.chunk_size <= 0:
        raise UsageError("chunk size must be positive")
    if isinstance(items, Sequence):
        for item in items:
            _check_utf8(item.entry)
    layer = (_Podman if options.compression is Compression.PODMAN else _Layer)(out, options)
    if earlier is not None and earlier.made_by == made_by(options):
        layer.earlier = earlier
    with layer.pool:
        layer.add_all(items, hot)
        layer.seal()
    return layer.finish()


def made_by(options: WriterOptions) -> str:
    """What has to be the same for a layer's members to be of use to another; "" if nothing can."""
    if options.compression is not Compression.ESTARGZ:
        return ""
    return identity(options.compression.codec(options.level))


def write_plain(
    items: Iterable[Item], out: Output, *, options: WriterOptions = _DEFAULTS
) -> Written:
    """A tar stream without TOC: gzip, zstd or uncompressed. Any name will do."""
    plain = replace(options, compression=options.compression.plain)
    layer = _Plain(out, plain)
    with layer.pool:
        for item in items:
            layer.add(item)
        layer.seal()
    return layer.written()


def _check_utf8(entry: Entry) -> None:
    try:
        for text in (entry.name, entry.link, *entry.xattrs):
            text.encode()
    except UnicodeEncodeError as error:
        raise NotUtf8Error(entry.name) from error


class _Stream:
    """What both kinds of layer share: parts collect in a piece, members leave in order."""

    def __init__(self, out: Output, options: WriterOptions) -> None:
        self.options = options
        self.total = 0
        self.offset = 0
        self._out = out
        self._diff = hashlib.sha256()
        self._blob = hashlib.sha256()
        self._piece = Piece()
        threads = options.threads or min(len(os.sched_getaffinity(0)) + 1, _MAX_THREADS)
        codec = compressor(options.compression.codec(options.level))
        self.pool = Pool(codec, self._packed, threads)

    def put(self, data: bytes) -> None:
        """Add to the tar stream, and so to the current piece."""
        self.absorb(data)
        self._piece.add(data)

    def absorb(self, data: bytes) -> None:
        """Count bytes of the tar stream."""
        self._diff.update(data)
        self.total += len(data)

    def begin(self, piece: Piece) -> None:
        """Close the current piece and go on in another."""
        if self._piece.parts:
            self.pool.put(self._piece)
        self._piece = piece

    def seal(self) -> None:
        """End the archive; what the pool holds leaves when it is closed."""
        self.put(tarwrite.END)
        self.begin(Piece())

    def emit(self, data: bytes) -> None:
        """Bytes of the blob."""
        self._blob.update(data)
        self.offset += len(data)
        self._out(data)

    def _packed(self, packed: Packed) -> None:
        start = self.offset
        for piece, member in zip(packed.pieces, packed.members, strict=True):
            if piece.record is not None:
                piece.record.offset = start
            start += len(member)
            if piece.owner is not None:
                piece.owner.end_offset = start
        self.emit(b"".join(packed.members))

    def dated(self, entry: Entry) -> Entry:
        epoch = self.options.epoch
        if epoch is not None and entry.mtime > epoch * 1_000_000_000:
            return replace(entry, mtime=epoch * 1_000_000_000)
        return entry

    def written(self) -> Written:
        return Written(
            media_type=self.options.compression.media_type,
            digest=Digest("sha256:" + self._blob.hexdigest()),
            size=self.offset,
            diff_id=DiffID("sha256:" + self._diff.hexdigest()),
            uncompressed_size=self.total,
        )


@final
class _Plain(_Stream):
    """Independent members of about a megabyte, as pigz makes them."""

    _MEMBER = 1 << 20

    def add(self, item: Item) -> None:
        entry = self.dated(item.entry)
        self.put(tarwrite.header(entry))
        if entry.size:
            with _opened(item) as payload:
                left = entry.size
                while left:
                    data = _read(payload, min(left, self._MEMBER), entry)
                    self._put_large(data)
                    left -= len(data)
            self.put(tarwrite.padding(entry.size))

    def _put_large(self, data: bytes) -> None:
        self.put(data)
        if self._piece.size >= self._MEMBER:
            self.begin(Piece())


class _Layer(_Stream):
    """A layer with a TOC. Records are encoded as soon as they are complete, in entry order."""

    def __init__(self, out: Output, options: WriterOptions) -> None:
        super().__init__(out, options)
        self._open: deque[TocEntry] = deque()
        self._toc = tail.TocBuilder()
        self._names: set[str] = set()
        self._headers = 0  # bytes of them in the current piece
        self._missing: Sequence[str] = ()
        self.earlier: Earlier | None = None

    def begin(self, piece: Piece) -> None:
        self._headers = 0
        super().begin(piece)

    def add_all(self, items: Iterable[Item], hot: Sequence[str]) -> None:
        if not hot:
            self._landmark(names.NO_PREFETCH_LANDMARK)
            checked = isinstance(items, Sequence)
            for item in items:
                if not checked:
                    _check_utf8(item.entry)
                if item.entry.name not in names.OWN_NAMES:
                    self.add(item)
            return
        ordered = arrange(items, hot)
        self._missing = ordered.missing
        for item in (*ordered.hot, *ordered.rest):
            _check_utf8(item.entry)
        for item in ordered.hot:
            self.add(item)
        kept = bool(ordered.hot)
        self._landmark(names.PREFETCH_LANDMARK if kept else names.NO_PREFETCH_LANDMARK)
        for item in ordered.rest:
            self.add(item)

    def _landmark(self, name: str) -> None:
        if self.options.prefetch:
            entry = Entry(name=name, kind=Kind.REG, mode=0, size=1)
            record = self._header(entry)
            self._payload(record, _LANDMARK, whole=True)
            self.put(tarwrite.padding(1))

    def add(self, item: Item) -> None:
        entry = self.dated(item.entry)
        if entry.kind is Kind.HARDLINK and entry.link not in self._names:
            raise BuildError(
                f"hard link {names.shown(entry.name)} comes before its target"
                f" {names.shown(entry.link)}"
            )
        self._names.add(entry.name)
        record = self._header(entry)
        if entry.size and not self._taken_over(record, item):
            with _opened(item) as payload:
                self._file(record, entry, payload)

    def _taken_over(self, record: TocEntry, item: Item) -> bool:
        """Take the payload from the earlier layer, and with it the member it may end up in."""
        if self.earlier is None or item.digest is None or record.size > self.options.chunk_size:
            return False
        member = self.earlier.member(item.entry, item.digest)
        if member is None:
            return False
        size = len(member.packed) + len(member.plain)
        self.begin(Piece(record=record, whole=True, member=member, size=size))
        self.put(member.plain[: record.size])
        if record.size % tarwrite.BLOCK:
            self.put(tarwrite.padding(record.size))
        return True

    def _header(self, entry: Entry) -> TocEntry:
        if self._headers >= _MOST_HEADERS:
            self.begin(Piece())
        header = tarwrite.header(entry)
        self._headers += len(header)
        self.put(header)
        record = from_entry(entry)
        self._open.append(record)
        return record

    def _file(self, record: TocEntry, entry: Entry, payload: BinaryIO) -> None:
        size, chunk_size = entry.size, self.options.chunk_size
        if size <= chunk_size:
            self._payload(record, _read(payload, size, entry), whole=True)
        else:
            self._chunks(record, entry, payload)
        if size % tarwrite.BLOCK:
            self.put(tarwrite.padding(size))

    def _chunks(self, record: TocEntry, entry: Entry, payload: BinaryIO) -> None:
        whole = hashlib.sha256()
        full = self.options.chunk_size
        for start in range(0, entry.size, full):
            data = _read(payload, min(full, entry.size - start), entry)
            whole.update(data)
            piece = record
            if start:
                piece = TocEntry(name=record.name, type=CHUNK, chunk_offset=start)
                self._open.append(piece)
            piece.chunk_size = self._chunk_size(len(data))
            self._payload(piece, data, whole=False)
        record.digest = "sha256:" + whole.hexdigest()

    def _chunk_size(self, size: int) -> int:
        """As Go's writer has it: left out when it goes to the end of the file and is short."""
        return size if size == self.options.chunk_size else 0

    def _payload(self, record: TocEntry, data: bytes, *, whole: bool) -> None:
        self.begin(Piece(record=record, whole=whole))
        self.put(data)

    def _packed(self, packed: Packed) -> None:
        super()._packed(packed)
        self._encode()

    def _encode(self) -> None:
        while self._open and self._ready(self._open[0]):
            self._toc.add(encode_entry(self._open.popleft()))

    def _ready(self, record: TocEntry) -> bool:
        if record.type == Kind.REG and record.size:
            return bool(record.offset and record.digest)
        return record.type != CHUNK or bool(record.offset)

    def finish(self) -> Written:
        ending = self._ending()
        self.absorb(ending.tar)
        self.emit(ending.blob)
        size = {UNCOMPRESSED_SIZE: str(self.total)} if TOC_DIGEST in ending.annotations else {}
        return replace(
            self.written(),
            toc_digest=ending.found.expected,
            annotations={**ending.annotations, **size},
            found=ending.found,
            missing=tuple(self._missing),
        )

    def _ending(self) -> tail.Ending:
        zstd = self.options.compression is Compression.ZSTD_CHUNKED
        return (tail.zstd_chunked if zstd else tail.estargz)(self._toc.document(), self.offset)


@final
class _Podman(_Layer):
    """Frames end with their payload, and a tar-split of everything else goes along."""

    def __init__(self, out: Output, options: WriterOptions) -> None:
        super().__init__(out, replace(options, prefetch=False))
        self._split = TarSplit()
        self._file_record = TocEntry(name="", type="")
        self._ended = False

    def _ready(self, record: TocEntry) -> bool:
        """Not before the end: a file's record waits for where its last piece ends."""
        return self._ended and super()._ready(record)

    def _chunk_size(self, size: int) -> int:
        return size

    def _header(self, entry: Entry) -> TocEntry:
        self._file_record = record = super()._header(entry)
        self._split.segment(tarwrite.header(entry))
        if not entry.size:
            record.digest = ""  # as podman has it for empty files
            self._split.file(record.name, 0, None)
        return record

    def _file(self, record: TocEntry, entry: Entry, payload: BinaryIO) -> None:
        summed = _Summed(payload)
        super()._file(record, entry, summed)
        self._split.file(record.name, entry.size, summed.checksum.digest())
        self._split.segment(tarwrite.padding(entry.size))

    def _payload(self, record: TocEntry, data: bytes, *, whole: bool) -> None:
        super()._payload(record, data, whole=whole)
        self._piece.owner = self._file_record
        self.begin(Piece())

    def seal(self) -> None:
        self._split.segment(tarwrite.END)
        super().seal()

    def _ending(self) -> tail.Ending:
        self._ended = True
        self._encode()
        packed = self._split.packed()
        raw = self._toc.document(tail.digest_of(packed))
        return tail.podman(raw, self.offset, (packed, self._split.size))


class _Summed(io.BufferedIOBase, BinaryIO):
    """A payload whose CRC-64 is taken as it is read."""

    def __init__(self, payload: BinaryIO) -> None:
        self._read = payload.read
        self.checksum = Checksum()

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._read(-1 if size is None else size)
        self.checksum.update(data)
        return data


def _opened(item: Item) -> BinaryIO:
    if item.open is None:
        raise BuildError(f"file without content: {names.shown(item.entry.name)}")
    return item.open()


def _read(payload: BinaryIO, size: int, entry: Entry) -> bytes:
    """Exactly `size` bytes; a file that shrank while it was read fails the layer."""
    data = payload.read(size)
    while len(data) < size:
        more = payload.read(size - len(data))
        if not more:
            raise BuildError(f"file became shorter while it was read: {names.shown(entry.name)}")
        data += more
    return data
