"""Reads through the lazy mount: small files and long ones whose chunks are in the disk cache.

    unshare -Ur -m python bench/lazyfs_mount.py BLOB.esgz TOC_DIGEST [WORK]

Fills the chunk cache through one mount, then measures through fresh ones (nothing in the kernel's
cache, chunks in the disk cache). Prints one JSON object.
"""

import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lazybuild.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from lazybuild.registry.config import RegistryConfig
from lazybuild.snapshots.lazyfs.cache import open_cache
from lazybuild.snapshots.lazyfs.client import LazyFs
from lazybuild.snapshots.lazyfs.layer import LazyLayer
from lazybuild.snapshots.lazyfs.opening import open_tree
from lazybuild.snapshots.lazyfs.reader import ChunkReader
from lazybuild.snapshots.lazyfs.source import FileSource
from lazybuild.store import Place, Store


def peak(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) // 1024


class Registry:
    """The blob over HTTP on loopback, so that the layer is a remote one with a disk cache."""

    def __init__(self, blob):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if "/blobs/" not in self.path:
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                start, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
                size = blob.stat().st_size
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
                self.send_header("Content-Length", str(end - start + 1))
                self.end_headers()
                with blob.open("rb") as file:
                    os.sendfile(self.connection.fileno(), file.fileno(), start, end - start + 1)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.origin = f"127.0.0.1:{self.server.server_port}/base"


@contextmanager
def mounted(work, blob, digest, toc_digest, origin):
    began = time.perf_counter()
    with LazyFs.start(work / "mnt", work / "store", RegistryConfig().to_json()) as fs:
        started = time.perf_counter() - began
        descriptor = Descriptor(media_type=OCI_LAYER_GZIP, digest=digest, size=blob.stat().st_size)
        root, reason = fs.add(descriptor, toc_digest, origins=[origin])
        assert root, reason
        yield fs, root, started, time.perf_counter() - began


def warm(work, blob, digest, toc_digest):
    """All chunks into the disk cache, without the mount."""
    tree, reason = open_tree(FileSource(Place.whole(blob)), {}, toc_digest)
    assert tree is not None, reason
    reader = ChunkReader(open_cache(work / "store"))
    layer = LazyLayer(digest=digest, tree=tree, source=FileSource(Place.whole(blob)))
    for chunk in range(len(tree.chunks)):
        reader.read(layer, chunk)


def regular(root):
    for folder, _, names in os.walk(root):
        for name in names:
            path = f"{folder}/{name}"
            yield path, os.lstat(path)


def main():
    blob, toc_digest = Path(sys.argv[1]), sys.argv[2]
    base = sys.argv[3] if len(sys.argv) > 3 else None
    digest = "sha256:" + hashlib.sha256(blob.read_bytes()).hexdigest()
    result = {}
    with tempfile.TemporaryDirectory(dir=base) as folder:
        work = Path(folder)
        (work / "mnt").mkdir()
        Store(work / "store")
        registry = Registry(blob)
        warm(work, blob, digest, toc_digest)
        with mounted(work, blob, digest, toc_digest, registry.origin) as (fs, root, started, ready):
            result["mounted_s"], result["layer_ready_s"] = round(started, 3), round(ready, 3)
            began = time.perf_counter()
            found = [(p, s) for p, s in regular(root) if (s.st_mode >> 12) == 8]
            result["walk_s"] = round(time.perf_counter() - began, 3)
            small = [p for p, s in found if 0 < s.st_size <= 4096]
            large = sorted(found, key=lambda item: -item[1].st_size)[:40]
            began = time.perf_counter()
            read_all(small)
            result["cold_small_files_per_s"] = int(len(small) / (time.perf_counter() - began))
            began = time.perf_counter()
            read_all(small)
            result["warm_small_files_per_s"] = int(len(small) / (time.perf_counter() - began))
            total = sum(s.st_size for _, s in large)
            began = time.perf_counter()
            read_all([p for p, _ in large])
            result["cold_sequential_GBps"] = round(total / (time.perf_counter() - began) / 1e9, 2)
            result["peak_MB"] = peak(fs.pid)
            assert next(iter(fs.stats().values())).requests == 0
        with mounted(work, blob, digest, toc_digest, registry.origin) as (fs, root, _, _):
            began = time.perf_counter()
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(read_all, (small[::2], small[1::2])))
            result["cold_small_two_threads_per_s"] = int(len(small) / (time.perf_counter() - began))
    print(json.dumps(result, indent=2))


def read_all(paths):
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        while os.read(fd, 1 << 20):
            pass
        os.close(fd)


if __name__ == "__main__":
    main()
