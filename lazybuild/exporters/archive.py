"""Tar archives of blobs: the same members give the same bytes. Verifies what it copies.

Knows no image format; `oci` and `docker` decide which members there are.
"""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from lazybuild.errors import IntegrityError
from lazybuild.estargz import tarwrite
from lazybuild.estargz.entry import Entry, Kind
from lazybuild.exporters.base import ImageBlob
from lazybuild.oci.verified import VerifiedReader

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of an archive: bytes at hand, or a blob to copy."""

    name: str
    content: bytes | ImageBlob


def write(members: Iterable[Member], out: BinaryIO) -> None:
    """All members, each directory before what is in it, and the end of the archive."""
    made: set[str] = set()
    for member in members:
        for directory in _above(member.name):
            if directory not in made:
                made.add(directory)
                entry = Entry(name=directory, kind=Kind.DIR, mode=0o755)
                out.write(tarwrite.header(entry))
        _write_file(member, out)
    out.write(tarwrite.END)


def copy_blob(blob: ImageBlob, out: BinaryIO) -> None:
    """Exactly the blob that its descriptor names, or IntegrityError."""
    with closing(VerifiedReader(blob.open(), blob.descriptor)) as stream:
        copied = 0
        while piece := stream.read(_PIECE):
            out.write(piece)
            copied += len(piece)
    if copied != blob.descriptor.size:
        raise IntegrityError(f"blob {blob.descriptor.digest} is not as long as it should be")


def _above(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _write_file(member: Member, out: BinaryIO) -> None:
    content = member.content
    size = len(content) if isinstance(content, bytes) else content.descriptor.size
    out.write(tarwrite.header(Entry(name=member.name, kind=Kind.REG, size=size)))
    if isinstance(content, bytes):
        out.write(content)
    else:
        copy_blob(content, out)
    out.write(tarwrite.padding(size))
