"""The tar-split of podman's zstd:chunked: what of a tar stream is not file content. Pure.

JSON lines: segments hold raw bytes (headers and padding), file lines a name, a size and the CRC-64
of the content. Podman puts the stream together again from them to check the layer's diff_id.
Format: vbatts/tar-split, tar/storage/entry.go.
"""

import base64
import json
import lzma

from lazybuild.estargz.codec import packer

_FILE, _SEGMENT = 1, 2
_LEVEL = 9
_FOOTER, _CHECK = 12, 8
_FILTERS = (
    {
        "id": lzma.FILTER_LZMA2,
        "mode": lzma.MODE_FAST,
        "mf": lzma.MF_HC3,
        "dict_size": 4096,
        "nice_len": 3,
        "depth": 1,
    },
)


class Checksum:
    """CRC-64/ECMA, which of all of Python's libraries only liblzma computes: in an xz stream it
    stands before the index, and the footer says how long that is.
    """

    def __init__(self) -> None:
        self._xz = lzma.LZMACompressor(check=lzma.CHECK_CRC64, filters=_FILTERS)

    def update(self, data: bytes) -> None:
        self._xz.compress(data)

    def digest(self) -> bytes:
        """Big-endian, as Go sums it."""
        end = self._xz.flush()
        index = (int.from_bytes(end[-8:-4], "little") + 1) * 4
        stop = len(end) - _FOOTER - index
        return end[stop - _CHECK : stop][::-1]


class TarSplit:
    """Collects the lines, packed as they come."""

    def __init__(self) -> None:
        self._packer = packer(_LEVEL)
        self._packed = bytearray()
        self._raw = bytearray()
        self._count = 0
        self.size = 0

    def segment(self, data: bytes) -> None:
        """Bytes of the stream that are not content."""
        self._raw += data

    def file(self, name: str, size: int, checksum: bytes | None) -> None:
        """A file; its header was the last segment, its content comes next."""
        self._flush()
        line: dict[str, object] = {"type": _FILE, "name": name}
        if size:
            line["size"] = size
        line["payload"] = base64.b64encode(checksum).decode() if checksum else None
        self._line(line)

    def _flush(self) -> None:
        if self._raw:
            payload = base64.b64encode(self._raw).decode()
            self._raw.clear()
            self._line({"type": _SEGMENT, "payload": payload})

    def _line(self, line: dict[str, object]) -> None:
        text = json.dumps({**line, "position": self._count}, separators=(",", ":"))
        data = text.encode() + b"\n"
        self._count += 1
        self.size += len(data)
        self._packed += self._packer.compress(data)

    def packed(self) -> bytes:
        """All of it as a zstd frame; `size` is its raw length then."""
        self._flush()
        self._packed += self._packer.flush()
        return bytes(self._packed)
