"""From bytes to a `Toc`: what no honest writer makes is refused here, once, before any read.

`UnverifiedToc` is JSON nobody vouches for and has no data methods; `verify` (or, for those who
accept it, `trust`) makes the `Toc`. Its reader may rely on: clean names, each once (the last
wins); parents that are directories; hard links that reach a file; pieces that cover their file
without hole or overlap; payload that ascends and ends before the TOC; a digest for every piece
(when strict). Pure.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names
from lazybuild.estargz.entry import Kind
from lazybuild.estargz.footer import Layout
from lazybuild.estargz.toc import CHUNK, Toc, TocEntry, chunk_sizes, parse

MAX_PIECE = 1 << 28
_MAX_FILE = 1 << 50
_MAX_DEVICE = 1 << 32
_KINDS = frozenset(kind.value for kind in Kind)
_REG, _DIR, _SYMLINK, _HARDLINK = (
    kind.value for kind in (Kind.REG, Kind.DIR, Kind.SYMLINK, Kind.HARDLINK)
)
_is_digest = re.compile(r"sha256:[0-9a-f]{64}\Z").match

_File = tuple[TocEntry, Sequence[TocEntry]]
_NO_CHUNKS: Sequence[TocEntry] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedToc:
    """A TOC as found in a blob. `covered` are the bytes that the annotated digest is of.

    `expected` is that digest if the descriptor had one. `data_end` is where payload ends.
    """

    raw: bytes
    covered: bytes
    layout: Layout
    data_end: int
    expected: str = ""

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.covered).hexdigest()

    def verify(self, expected: str) -> Toc:
        """The TOC that may be read from, if `expected` (from a trusted manifest) is its digest."""
        actual = self.digest
        if actual != expected:
            raise IntegrityError(
                f"TOC digest is {actual}, the manifest says {names.shown(expected)}"
            )
        return _check(self, expected, strict=True)

    def trust(self) -> Toc:
        """The TOC without a digest to hold it to: only for callers who were told to accept that."""
        return _check(self, self.digest, strict=False)


def _check(found: UnverifiedToc, digest: str, *, strict: bool) -> Toc:
    """Parse and check. Raises IntegrityError with the entry at fault."""
    files = list(_grouped(parse(found.raw)))
    offsets = _payload(files, found.data_end, strict=strict)
    chosen: dict[str, _File] = {}
    for file in files:
        path = _check_entry(file[0])
        chosen.pop(path, None)
        chosen[path] = file
    _check_tree(chosen)
    return Toc(
        entries=tuple(entry for entry, _ in chosen.values()),
        paths=tuple(chosen),
        by_path={path: entry for path, (entry, _) in chosen.items()},
        digest=digest,
        layout=found.layout,
        data_end=found.data_end,
        prefetch_end=_prefetch_end(chosen),
        pieces={id(entry): tuple(rest) for entry, rest in chosen.values() if rest},
        offsets=offsets,
    )


def _grouped(entries: Sequence[TocEntry]) -> Iterator[_File]:
    """Each entry with the `chunk` records that continue it."""
    file: TocEntry | None = None
    rest: list[TocEntry] = []
    for entry in entries:
        if entry.type != CHUNK:
            if file is not None:
                yield file, rest or _NO_CHUNKS
            if rest:
                rest = []
            file = entry
        elif file is None or file.type != Kind.REG or entry.name != file.name:
            raise _wrong(entry, "a chunk of no file")
        else:
            rest.append(entry)
    if file is not None:
        yield file, rest or _NO_CHUNKS


def _payload(files: Sequence[_File], data_end: int, *, strict: bool) -> list[int]:
    """Check every piece; returns the distinct offsets, ascending."""
    offsets: list[int] = []
    last = (-1, 0)
    for entry, rest in files:
        if entry.type != _REG or entry.size <= 0:
            _check_bare(entry, rest)
            continue
        if rest:
            _check_pieces(entry, rest, strict=strict)
        else:
            _check_piece(entry, strict=strict)
        for piece in (entry, *rest) if rest else (entry,):
            place = (piece.offset, piece.inner_offset)
            if place <= last or not 0 <= piece.offset < data_end or piece.inner_offset < 0:
                raise _wrong(entry, f"payload out of place at {piece.offset}")
            if piece.offset != last[0]:
                offsets.append(piece.offset)
            last = place
    return offsets


def _check_bare(entry: TocEntry, rest: Sequence[TocEntry]) -> None:
    if entry.size < 0 or rest:
        raise _wrong(entry, "size and chunks do not fit")


def _check_piece(entry: TocEntry, *, strict: bool) -> None:
    """A file in one piece, as nearly all are."""
    size = entry.size
    if entry.chunk_offset:
        raise _wrong(entry, f"hole or overlap at {entry.chunk_offset}")
    if size > MAX_PIECE or entry.inner_offset > MAX_PIECE:
        raise _wrong(entry, f"piece of {size} bytes is too large")
    digest = entry.chunk_digest or entry.digest
    if (digest or strict) and not _is_digest(digest):
        raise _wrong(entry, "a piece without a sha256 digest can't be verified")
    if entry.chunk_size and entry.chunk_size != size:
        raise _wrong(entry, "chunks do not add up to its size")


def _check_pieces(entry: TocEntry, rest: Sequence[TocEntry], *, strict: bool) -> None:
    if entry.size > _MAX_FILE:
        raise _wrong(entry, f"size {entry.size} is beyond reason")
    position = 0
    for piece, size in zip((entry, *rest), chunk_sizes(entry, rest), strict=True):
        if piece.chunk_offset != position or size <= 0:
            raise _wrong(entry, f"hole or overlap at {piece.chunk_offset}")
        if size > MAX_PIECE or piece.inner_offset > MAX_PIECE:
            raise _wrong(entry, f"piece of {size} bytes is too large")
        position += size
        if (piece.chunk_digest or strict) and not _is_digest(piece.chunk_digest):
            raise _wrong(entry, "a piece without a sha256 digest can't be verified")
    if position != entry.size:
        raise _wrong(entry, "chunks do not add up to its size")


def _check_entry(entry: TocEntry) -> str:
    path = names.clean(entry.name)
    if entry.type not in _KINDS:
        raise _wrong(entry, f"type {names.shown(entry.type)} is not known")
    if not path and entry.type != _DIR:
        raise _wrong(entry, "only a directory can be the root")
    if not (0 <= entry.uid <= names.MAX_ID and 0 <= entry.gid <= names.MAX_ID):
        raise _wrong(entry, f"owner {entry.uid}:{entry.gid} out of range")
    if not (0 <= entry.dev_major < _MAX_DEVICE and 0 <= entry.dev_minor < _MAX_DEVICE):
        raise _wrong(entry, "device number out of range")
    if entry.type == _SYMLINK:
        names.check_target(path, entry.link_name)
    if entry.xattrs:
        names.sane_xattrs(path, entry.xattrs)
    return path


def _check_tree(chosen: dict[str, _File]) -> None:
    """Parents are directories, hard links lead to something that can be linked."""
    good: set[str] = {""}
    for path, (entry, _) in chosen.items():
        parent = path.rpartition("/")[0]
        while parent not in good:
            above = chosen.get(parent)
            if above and above[0].type != Kind.DIR:
                raise _wrong(entry, f"below {names.shown(parent)}, which is no directory")
            good.add(parent)
            parent = parent.rpartition("/")[0]
        if entry.type == _HARDLINK:
            _check_link(entry, chosen)


def _check_link(entry: TocEntry, chosen: dict[str, _File]) -> None:
    target = entry
    for _ in range(names.MAX_LINKS):
        found = chosen.get(names.clean(target.link_name))
        if found is None or found[0].type == Kind.DIR:
            break
        target = found[0]
        if target.type != Kind.HARDLINK:
            return
    raise _wrong(entry, f"hard link to {names.shown(entry.link_name)} leads nowhere")


def _prefetch_end(chosen: dict[str, _File]) -> int:
    landmark = chosen.get(names.PREFETCH_LANDMARK)
    if landmark is None or names.NO_PREFETCH_LANDMARK in chosen:
        return 0
    return landmark[0].offset


def _wrong(entry: TocEntry, what: str) -> IntegrityError:
    return IntegrityError(f"TOC entry {names.shown(entry.name)}: {what}")
