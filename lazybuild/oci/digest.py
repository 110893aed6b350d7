"""Digests as the OCI image spec has them (descriptor.md, "Digests"). Pure.

A string becomes a `Digest` only through `parse` or `of`, so one that is a `Digest` is safe as a
file name: its algorithm is sha256 and its hex part has the right length and alphabet.
"""

import hashlib
import re
from typing import NewType

from lazybuild.errors import IntegrityError

Digest = NewType("Digest", str)
DiffID = NewType("DiffID", str)

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}\Z")


def parse(text: str) -> Digest:
    """Check a digest from outside. Raises IntegrityError for any but lower-case sha256."""
    if not is_valid(text):
        shown = text[:100].encode("unicode_escape").decode()
        raise IntegrityError(f"not a sha256 digest: {shown!r}")
    return Digest(text)


def is_valid(text: str) -> bool:
    return _SHA256.match(text) is not None


def of(data: bytes | memoryview) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def hex_part(digest: Digest | DiffID) -> str:
    return digest.partition(":")[2]
