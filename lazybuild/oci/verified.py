"""Blobs that are held to their descriptors while they are read."""

import hashlib
import io
from typing import TYPE_CHECKING, BinaryIO

from lazybuild.errors import IntegrityError
from lazybuild.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class VerifiedReader(io.RawIOBase):
    """A stream that fails at its end when digest or size are not those of the descriptor.

    It never hands out more bytes than the descriptor allows.
    """

    def __init__(self, source: BinaryIO, descriptor: Descriptor) -> None:
        super().__init__()
        self._source = source
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self._left = descriptor.size
        self._checked = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        if self._checked or not view:
            return 0
        wanted = min(len(view), self._left)
        data = self._source.read(wanted) if wanted else b""
        view[: len(data)] = data
        self._hash.update(data)
        self._left -= len(data)
        if not data or not self._left:
            self._check()
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()

    def _check(self) -> None:
        wanted = self._descriptor
        if self._left:
            raise IntegrityError(
                f"blob {wanted.digest} ends {self._left} bytes early, size is {wanted.size}"
            )
        if self._source.read(1):
            raise IntegrityError(f"blob {wanted.digest} is longer than its size of {wanted.size}")
        actual = "sha256:" + self._hash.hexdigest()
        if actual != wanted.digest:
            raise IntegrityError(f"blob {wanted.digest} has the digest {actual}")
        self._checked = True
