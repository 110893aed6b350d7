"""sha256 of the bytes of a file, one buffer at a time. An edge without state."""

import hashlib
from typing import BinaryIO

_PIECE = 1 << 20


def sha256_of(stream: BinaryIO) -> str:
    """`sha256:<hex>` of all that is left in a stream."""
    total = hashlib.sha256()
    while data := stream.read(_PIECE):
        total.update(data)
    return "sha256:" + total.hexdigest()
