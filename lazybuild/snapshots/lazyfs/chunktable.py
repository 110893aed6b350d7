"""Collects the pieces of the files of a TOC and checks that they make up the files. Pure."""

import hashlib
from array import array
from bisect import bisect_right
from itertools import pairwise

from lazybuild.errors import IntegrityError
from lazybuild.snapshots.lazyfs.tree import Chunks

_HEX_DIGEST = len("sha256:") + 64
_PIECE_MAX = 1 << 28
_SLACK = 8192  # how much a member may be longer than its payload: heads, trailers, empty blocks


class ChunkTable:
    """`begin` a file, `add` its pieces in order, `close` it; at the end `finish`."""

    def __init__(self, *, data_end: int, unverified: bytes = b"") -> None:
        """With `unverified`, which tells the layer from others, a piece may lack a digest."""
        self._data_end = data_end
        self._layer = unverified
        self._unverified: set[int] = set()
        self._offset = array("Q")
        self._inner = array("Q")
        self._position = array("Q")
        self._size = array("I")
        self._digest = bytearray()
        self._name = ""
        self._total = self._reached = 0

    def __len__(self) -> int:
        return len(self._offset)

    def begin(self, name: str, total: int) -> None:
        self._name, self._total, self._reached = name, total, 0

    def add(self, *, offset: int, inner: int, position: int, size: int, digest: str) -> None:
        """Take the next piece of the file; a size of 0 means what is left of the file."""
        size = size or self._total - position
        if position != self._reached or size <= 0 or size > min(self._total - position, _PIECE_MAX):
            raise self._bad(f"the chunk at {position} does not follow the one before it")
        if not 0 <= offset < self._data_end or not 0 <= inner <= _PIECE_MAX:
            raise self._bad(f"the chunk at {position} lies outside the blob")
        self._offset.append(offset)
        self._inner.append(inner)
        self._position.append(position)
        self._size.append(size)
        self._digest += self._parse(digest) if digest or not self._layer else self._named()
        self._reached = position + size

    def close(self) -> None:
        if self._reached != self._total:
            raise self._bad(f"its chunks hold {self._reached} of its {self._total} bytes")

    def finish(self) -> Chunks:
        return Chunks(
            offset=self._offset,
            end=_ends(self._offset, self._most(), self._data_end),
            inner=self._inner,
            position=self._position,
            size=self._size,
            digest=self._digest,
            unverified=self._unverified,
        )

    def _most(self) -> "array[int]":
        """Where a member ends at the latest if all it holds does not shrink at all."""
        reach = array("Q")
        for offset, inner, size in zip(self._offset, self._inner, self._size, strict=True):
            reach.append(offset + inner + size + (inner + size) // 256 + _SLACK)
        return reach

    def _parse(self, digest: str) -> bytes:
        if len(digest) == _HEX_DIGEST and digest.startswith("sha256:"):
            try:
                return bytes.fromhex(digest[7:])
            except ValueError:
                pass  # said below
        raise self._bad("a chunk has no digest that could be checked")

    def _named(self) -> bytes:
        """A name for the piece that was just added, in place of the digest that it lacks."""
        self._unverified.add(len(self._offset) - 1)
        place = f"unverified {self._offset[-1]} {self._inner[-1]} "
        return hashlib.sha256(place.encode() + self._layer).digest()

    def _bad(self, reason: str) -> IntegrityError:
        shown = self._name[:200].encode("unicode_escape").decode()
        return IntegrityError(f"TOC entry {shown!r}: {reason}")


def _ends(starts: "array[int]", most: "array[int]", data_end: int) -> "array[int]":
    """A member ends where the next one begins, but no later than its pieces could reach."""
    ascending = all(a <= b for a, b in pairwise(starts))
    distinct = starts if ascending else array("Q", sorted(set(starts)))
    ends = array("Q", bytes(8 * len(starts)))
    following = here = data_end
    if ascending:
        for index in range(len(starts) - 1, -1, -1):
            if starts[index] != here:
                following, here = here, starts[index]
            ends[index] = min(following, most[index])
        return ends
    for index, start in enumerate(starts):
        place = bisect_right(distinct, start)
        following = distinct[place] if place < len(distinct) else data_end
        ends[index] = min(following, most[index])
    return ends
