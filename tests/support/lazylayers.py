"""Lazy layers over bytes in memory, with a source that can be told to fail."""

import threading

from support import layers

from lazybuild.oci.digest import Digest
from lazybuild.snapshots.lazyfs.layer import LazyLayer
from lazybuild.snapshots.lazyfs.opening import open_tree
from lazybuild.snapshots.lazyfs.reader import ChunkReader


class MemoryCache:
    def __init__(self):
        self.held = {}

    def has(self, digest):
        return digest in self.held

    def get(self, digest, size):
        return self.held.get(digest)

    def put(self, digest, data):
        self.held[digest] = bytes(data)


class MemorySource(layers.Bytes):
    """Notes each read; `broken` maps offsets to how often a bit of that byte comes flipped."""

    def __init__(self, data, hosts=("one",)):
        super().__init__(data)
        self.hosts = hosts
        self.rereads = []
        self.broken = {}
        self.error = None
        self.gate = threading.Event()
        self.gate.set()
        self.lock = threading.Lock()

    def read_at(self, offset, length):
        self.gate.wait(10)
        if self.error:
            raise self.error
        data = bytearray(super().read_at(offset, length))
        with self.lock:
            for place, times in self.broken.items():
                if offset <= place < offset + length and times:
                    self.broken[place] -= 1
                    data[place - offset] ^= 1
        return bytes(data)

    def reread_at(self, offset, length, *, tried=0):
        self.rereads.append(tried)
        return self.read_at(offset, length)


def lazy_layer(items, *, hosts=("one",), cached=True, **options):
    blob, written = layers.write(items, **options)
    source = MemorySource(blob, hosts)
    tree, reason = open_tree(source, {}, written.toc_digest)
    assert tree is not None, reason
    source.reads.clear()
    return LazyLayer(digest=Digest(written.digest), tree=tree, source=source, cached=cached)


def content(reader: ChunkReader, layer, path):
    ino = layer.tree.find(path.encode())
    assert ino, path
    pieces = layer.tree.pieces(ino, 0, layer.tree.size(ino))
    return b"".join(reader.read(layer, p.chunk)[p.start : p.end] for p in pieces)


def first_chunk(layer, path):
    return layer.tree.file_chunks(layer.tree.find(path.encode()))[0]
