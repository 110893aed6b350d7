"""A step over a cold lazy base behind a link with latency and a bandwidth limit.

    unshare -Ur -m python bench/lazyfs_link.py BLOB.esgz TOC_DIGEST [--rtt MS] [--mbit N]
        [--profile] [--work DIR] [-- COMMAND...]

The registry runs in a process of its own and delays each request by the round-trip time; its
connections share the bandwidth. The command runs by chroot in an overlay whose only lower is the
lazy layer. With --profile the chunks that a first, cold run has read are prefetched in the second.
Prints one JSON object for each run.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lazybuild.linux import syscalls
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from lazybuild.registry.config import RegistryConfig
from lazybuild.snapshots.lazyfs.client import LazyFs
from lazybuild.store import Store

STEP = (
    "python3 -c 'import json,ssl,sqlite3' && cd /tmp && "
    "echo 'int main(){return 0;}' > a.c && gcc -static -O2 a.c -o a && ./a"
)
BLOCK = 16 << 10


class Link:
    """Bandwidth shared by all connections."""

    def __init__(self, rate):
        self.rate, self.free, self.lock = rate, 0.0, threading.Lock()

    def pass_(self, count):
        with self.lock:
            self.free = max(self.free, time.monotonic()) + count / self.rate
            pause = self.free - time.monotonic()
        if pause > 0:
            time.sleep(pause)


def serve(pipe, blob, rtt, rate):
    link, data = Link(rate), blob.open("rb")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def setup(self):
            super().setup()
            time.sleep(rtt)  # the TCP handshake

        def do_GET(self):
            time.sleep(rtt)
            wanted = self.headers.get("Range", "")
            if "/blobs/" not in self.path or not wanted:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start, end = map(int, wanted.removeprefix("bytes=").split("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{blob.stat().st_size}")
            self.send_header("Content-Length", str(end - start + 1))
            self.end_headers()
            for at in range(start, end + 1, BLOCK):
                part = os.pread(data.fileno(), min(BLOCK, end + 1 - at), at)
                link.pass_(len(part))
                self.wfile.write(part)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    pipe.send(server.server_port)
    server.serve_forever()


def run(work, layer, command, chunks):
    origin, blob, digest, toc_digest = layer
    shutil.rmtree(work / "store", ignore_errors=True)
    Store(work / "store")
    for name in ("mnt", "upper", "w", "merged"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir()
    config = RegistryConfig().to_json()
    began = time.perf_counter()
    with LazyFs.start(work / "mnt", work / "store", config) as fs:
        descriptor = Descriptor(media_type=OCI_LAYER_GZIP, digest=digest, size=blob.stat().st_size)
        lower, reason = fs.add(descriptor, toc_digest, origins=[origin])
        assert lower, reason
        ready = time.perf_counter() - began
        if chunks:
            fs.prefetch(digest, chunks=chunks)
        options = f"userxattr,lowerdir={lower},upperdir={work}/upper,workdir={work}/w"
        syscalls.mount("overlay", work / "merged", "overlay", 0, options)
        try:
            step = ["/usr/sbin/chroot", work / "merged", "sh", "-c", command]
            subprocess.run(step, check=True, env={"PATH": "/usr/local/bin:/usr/bin:/bin"})
        finally:
            syscalls.umount(work / "merged", syscalls.MNT_DETACH)
        wall = time.perf_counter() - began
        memory = int(Path(f"/proc/{fs.pid}/status").read_text().split("VmHWM:")[1].split()[0])
        stats = fs.stats()[digest]
        read = fs.chunks_read(digest)
    print(json.dumps({
        "layer_ready_s": round(ready, 2), "wall_s": round(wall, 2), "requests": stats.requests,
        "fetched_MB": round(stats.bytes_fetched / 1e6, 1),
        "read_MB": round(stats.bytes_read / 1e6, 1),
        "fetched_over_read": round(stats.bytes_fetched / max(1, stats.bytes_read), 2),
        "chunks_read": stats.chunks_read, "chunks_fetched": stats.chunks_fetched,
        "fetched_for": stats.fetched_for, "used_of": stats.used_of, "peak_MB": memory // 1024,
        "profile": bool(chunks),
    }))  # fmt: skip
    return read


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("blob", type=Path)
    parser.add_argument("toc_digest")
    parser.add_argument("--rtt", type=float, default=20)
    parser.add_argument("--mbit", type=float, default=400)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--work")
    parser.add_argument("command", nargs="*", default=[STEP])
    ask = parser.parse_args()
    with ask.blob.open("rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(
        target=serve, args=(theirs, ask.blob, ask.rtt / 1000, ask.mbit * 1e6 / 8), daemon=True
    )
    server.start()
    origin = f"127.0.0.1:{ours.recv()}/base"
    with tempfile.TemporaryDirectory(dir=ask.work) as folder:
        work = Path(folder)
        arguments = (work, (origin, ask.blob, digest, ask.toc_digest), " ".join(ask.command))
        chunks = run(*arguments, ())
        if ask.profile:
            run(*arguments, chunks)
    server.terminate()


if __name__ == "__main__":
    sys.exit(main())
