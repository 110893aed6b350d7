"""A layer written before, whose members a new layer may take over instead of making them again.

Members are independent, and a compressor gives the same bytes for the same piece. So a member that
inflates to just the bytes of a new piece is what the new piece would become, and the payload in it,
once it has the digest that the new file has, need not be read from anywhere else. Of use only to
who has the same compressor in the same version (`made_by`, see `writer.made_by`).
"""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lazybuild.errors import IntegrityError
from lazybuild.estargz.codec import inflate_members
from lazybuild.estargz.entry import Entry
from lazybuild.estargz.toc import Toc
from lazybuild.oci.digest import Digest
from lazybuild.oci.ranges import RangeReader

_PACKED, _PLAIN = 256 << 10, 2 << 20  # bytes that are read and inflated at a time, at least
_PIECE = 1 << 20
_LARGEST = 64 << 20  # of a member, inflated


@dataclass(frozen=True, slots=True)
class Member:
    """`packed` inflates to `plain`, which begins with a file of this digest and size."""

    packed: bytes
    plain: bytes
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Members one after another from number `first` on, and where each ends, packed and plain."""

    first: int
    packed: bytes
    plain: bytes
    ends: Sequence[tuple[int, int]]

    def member(self, number: int) -> tuple[bytes, bytes]:
        index = number - self.first
        start, begin = self.ends[index - 1] if index else (0, 0)
        stop, end = self.ends[index]
        return self.packed[start:stop], self.plain[begin:end]


_NONE = _Run(first=0, packed=b"", plain=b"", ends=())


class Earlier:
    """The members of one layer, by the file that each begins with. For one thread.

    That the blob still has its `digest` is checked once, before the first member is taken:
    inflating says little of a member's own header.
    """

    def __init__(self, ranges: RangeReader, toc: Toc, made_by: str, digest: Digest) -> None:
        self.made_by = made_by
        self._digest = digest
        self._whole: bool | None = None
        self._ranges = ranges
        self._toc = toc
        self._bounds = (*toc.offsets, toc.data_end)
        self._run = _NONE

    def member(self, entry: Entry, digest: Callable[[], str]) -> Member | None:
        """What holds the bytes of a file whose digest is asked for only if it may be here."""
        record = self._toc.lookup(entry.name)
        if record is None or record.size != entry.size or record.digest != record.chunk_digest:
            return None
        if record.digest != digest() or not self._is_whole():
            return None
        try:
            packed, plain = self._at(bisect_left(self._bounds, record.offset))
        except IntegrityError:  # none of ours: as if it were not there
            return None
        if "sha256:" + hashlib.sha256(plain[: record.size]).hexdigest() != record.digest:
            return None
        return Member(packed, plain, record.digest)

    def _is_whole(self) -> bool:
        if self._whole is None:
            total, size = hashlib.sha256(), self._ranges.size
            for start in range(0, size, _PIECE):
                total.update(self._ranges.read_at(start, min(_PIECE, size - start)))
            self._whole = "sha256:" + total.hexdigest() == self._digest
        return self._whole

    def _at(self, number: int) -> tuple[bytes, bytes]:
        run = self._run
        if not 0 <= number - run.first < len(run.ends):
            run = self._run = self._read(number)
        return run.member(number)

    def _read(self, first: int) -> _Run:
        """A run of members: files are wanted mostly in blob order."""
        bounds = self._bounds
        start = bounds[first]
        length = max(bounds[first + 1] - start, min(_PACKED, bounds[-1] - start))
        data = self._ranges.read_at(start, length)
        ends: list[tuple[int, int]] = []
        total = 0
        for bound in bounds[first + 1 :]:
            end = bound - start
            size = int.from_bytes(data[end - 4 : end], "little")
            if end > length or size > _LARGEST or (ends and total + size > _PLAIN):
                break
            total += size
            ends.append((end, total))
        if not ends:
            raise IntegrityError("member of another size than any that is written")
        packed = data[: ends[-1][0]]
        return _Run(first=first, packed=packed, plain=inflate_members(packed, total), ends=ends)
