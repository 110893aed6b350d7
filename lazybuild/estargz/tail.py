"""The end of a written layer: TOC and footer of each lazily readable format, and the result."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lazybuild.estargz import footer, names, tarwrite
from lazybuild.estargz.codec import DEFAULT_GZIP_LEVEL, DEFAULT_ZSTD_LEVEL, compressor
from lazybuild.estargz.entry import Entry, Kind
from lazybuild.estargz.footer import Layout
from lazybuild.estargz.toc import Toc
from lazybuild.estargz.validate import UnverifiedToc
from lazybuild.oci.descriptor import (
    NO_ANNOTATIONS,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    TOC_DIGEST,
)
from lazybuild.oci.digest import DiffID, Digest

ZSTD_POSITION = "io.containers.zstd-chunked.manifest-position"
ZSTD_CHECKSUM = "io.containers.zstd-chunked.manifest-checksum"
PODMAN_POSITION = "io.github.containers.zstd-chunked.manifest-position"
PODMAN_CHECKSUM = "io.github.containers.zstd-chunked.manifest-checksum"
PODMAN_TARSPLIT = "io.github.containers.zstd-chunked.tarsplit-position"
FRAME_HEAD = 8

_TOC_LEVEL = "gzip:9"
_TOC_ZSTD = "zstd:9"


class Compression(StrEnum):
    """The words of `--compression`."""

    ESTARGZ = "estargz"
    ZSTD_CHUNKED = "zstd:chunked"
    PODMAN = "zstd:chunked:podman"
    GZIP = "gzip"
    ZSTD = "zstd"
    NONE = "none"

    @property
    def lazy(self) -> bool:
        return self in (Compression.ESTARGZ, Compression.ZSTD_CHUNKED, Compression.PODMAN)

    @property
    def plain(self) -> "Compression":
        """The same codec without a TOC."""
        if self in (Compression.ZSTD_CHUNKED, Compression.PODMAN, Compression.ZSTD):
            return Compression.ZSTD
        return Compression.GZIP if self is Compression.ESTARGZ else self

    def codec(self, level: int | None) -> str:
        """The name `codec.compressor` knows it by."""
        if self is Compression.NONE:
            return "none"
        zstd = self.plain is Compression.ZSTD
        default = DEFAULT_ZSTD_LEVEL if zstd else DEFAULT_GZIP_LEVEL
        return f"{'zstd' if zstd else 'gzip'}:{default if level is None else level}"

    @property
    def media_type(self) -> str:
        if self is Compression.NONE:
            return OCI_LAYER
        return OCI_LAYER_ZSTD if self.plain is Compression.ZSTD else OCI_LAYER_GZIP


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a manifest and a store need to know of a layer; `toc_digest` is "" without a TOC.

    `missing` are the hot names that the layer doesn't have.
    """

    media_type: str
    digest: Digest
    size: int
    diff_id: DiffID
    uncompressed_size: int
    toc_digest: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: NO_ANNOTATIONS)
    found: UnverifiedToc | None = None
    missing: tuple[str, ...] = ()

    @property
    def toc(self) -> Toc | None:
        """The TOC as a reader of the blob would get it."""
        return self.found.verify(self.found.expected) if self.found else None


class TocBuilder:
    """Collects encoded records; gives the JSON document."""

    def __init__(self) -> None:
        self._json = bytearray(b'{"version":1,"entries":[')
        self._comma = b""

    def add(self, record: bytes) -> None:
        self._json += self._comma + record
        self._comma = b","

    def document(self, tar_split_digest: str = "") -> bytes:
        end = f'],"tarSplitDigest":"{tar_split_digest}"}}' if tar_split_digest else "]}"
        return bytes(self._json) + end.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What follows the payload: bytes of the blob, bytes of the tar stream, and the TOC."""

    blob: bytes
    tar: bytes = b""
    found: UnverifiedToc
    annotations: Mapping[str, str]


def estargz(raw: bytes, offset: int) -> Ending:
    """A gzip member that holds the TOC as a tar entry and the end of the archive; a footer."""
    entry = Entry(name=names.TOC_NAME, kind=Kind.REG, mode=0, size=len(raw))
    parts = (tarwrite.header(entry), raw, tarwrite.padding(len(raw)), tarwrite.END)
    tar = b"".join(parts)
    blob = bytes(compressor(_TOC_LEVEL)(tar)) + footer.estargz(offset)
    found = _found(raw, raw, Layout.ESTARGZ, offset)
    return Ending(blob=blob, tar=tar, found=found, annotations={TOC_DIGEST: found.expected})


def zstd_chunked(raw: bytes, offset: int) -> Ending:
    """A skippable frame with the packed TOC, which plain decompressors pass over; a footer."""
    packed = bytes(compressor(_TOC_ZSTD)(raw))
    at = offset + FRAME_HEAD
    found = _found(raw, raw, Layout.ZSTD, offset)
    return Ending(
        blob=footer.skippable(packed) + footer.zstd_chunked(at, len(packed), len(raw)),
        found=found,
        annotations={
            TOC_DIGEST: found.expected,
            ZSTD_CHECKSUM: digest_of(packed),
            ZSTD_POSITION: f"{at}:{len(packed)}:{len(raw)}:1",
        },
    )


def podman(raw: bytes, offset: int, split: tuple[bytes, int]) -> Ending:
    """The packed TOC, the packed tar-split (with its raw size) and a footer, all skippable."""
    packed = bytes(compressor(_TOC_ZSTD)(raw))
    toc = (offset + FRAME_HEAD, len(packed), len(raw))
    data, size = split
    second = (toc[0] + len(packed) + FRAME_HEAD, len(data), size)
    blob = footer.skippable(packed) + footer.skippable(data) + footer.podman(toc, second)
    found = _found(raw, packed, Layout.PODMAN, offset)
    return Ending(
        blob=blob,
        found=found,
        annotations={
            PODMAN_CHECKSUM: found.expected,
            PODMAN_POSITION: ":".join(map(str, (*toc, 1))),
            PODMAN_TARSPLIT: ":".join(map(str, second)),
        },
    )


def _found(raw: bytes, covered: bytes, layout: Layout, data_end: int) -> UnverifiedToc:
    return UnverifiedToc(
        raw=raw, covered=covered, layout=layout, data_end=data_end, expected=digest_of(covered)
    )


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
