"""The plain bytes of the chunks read last, bounded by their size. Safe to use from any thread."""

import threading
from collections import OrderedDict

_LIMIT = 32 << 20


class Memory:
    """A least-recently-used map from chunk digest to bytes."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit, self._held = limit, 0
        self._lock = threading.Lock()
        self._chunks: OrderedDict[bytes, bytes] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return key in self._chunks

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            data = self._chunks.get(key)
            if data is not None:
                self._chunks.move_to_end(key)
            return data

    def put(self, key: bytes, data: bytes) -> None:
        with self._lock:
            if key in self._chunks:
                return
            self._chunks[key] = data
            self._held += len(data)
            while self._held > self._limit and len(self._chunks) > 1:
                _, dropped = self._chunks.popitem(last=False)
                self._held -= len(dropped)
