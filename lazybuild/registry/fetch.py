"""A whole blob as a stream in order, fetched as parallel ranges and verified at its end.

Memory: at most `workers + 2` parts. Breaks inside a part are resumed by the reader it is given.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

from lazybuild.errors import IntegrityError
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.ranges import RangeReader

if TYPE_CHECKING:
    from concurrent.futures import Future

PART: Final = 2 << 20
WORKERS: Final = 6


class Hash(Protocol):
    """The part of hashlib's objects that a resumed stream hands over."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


def stream(
    ranges: RangeReader,
    descriptor: Descriptor,
    *,
    start: int = 0,
    hasher: Hash | None = None,
    workers: int = WORKERS,
    part: int = PART,
) -> Iterator[bytes]:
    """The bytes from `start` on; `hasher` has seen those before it.

    Raises IntegrityError after the last byte if the digest is wrong: until the stream has ended
    without an error, what came must not be used.
    """
    seen: Hash = hasher or hashlib.sha256()
    for block in parts(ranges, start, descriptor.size, workers=workers, part=part):
        seen.update(block)
        yield block
    actual = "sha256:" + seen.hexdigest()
    if actual != descriptor.digest:
        raise IntegrityError(f"a blob that should be {descriptor.digest} arrived as {actual}")


def parts(
    ranges: RangeReader, start: int, size: int, *, workers: int = WORKERS, part: int = PART
) -> Iterator[bytes]:
    """The bytes from `start` to `size` in order, unverified."""
    if size - start <= part:
        if size > start:
            yield ranges.read_at(start, size - start)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # small blobs need none

    places = iter(range(start, size, part))
    window: deque[Future[bytes]] = deque()
    pool = ThreadPoolExecutor(workers, "fetch")
    try:
        for place in places:
            window.append(pool.submit(ranges.read_at, place, min(part, size - place)))
            if len(window) > workers + 1:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
