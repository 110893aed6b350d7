"""A layer with half a million entries: time until its mount is ready, and the daemon's memory.

    unshare -Ur -m python bench/lazyfs_entries.py [--entries N] [--work DIR]

Writes the layer itself (files of a few bytes, a hundred to a directory). Prints one JSON object.
"""

import argparse
import io
import json
import tempfile
import time
from functools import partial
from pathlib import Path

from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.estargz.writer import write_layer
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from lazybuild.registry.config import RegistryConfig
from lazybuild.snapshots.lazyfs.client import LazyFs
from lazybuild.store import Place, Store

FILES = 99


def items(count):
    for number in range(count // (FILES + 1)):
        folder = f"usr/share/package{number // 100:03}/part{number:04}"
        yield Item(Entry(name=folder, kind=Kind.DIR, mode=0o755))
        for file in range(FILES):
            data = b"%d %d\n" % (number, file)
            entry = Entry(
                name=f"{folder}/some-file-{file:02}.txt", kind=Kind.REG, size=len(data),
                mtime=1_600_000_000 * 10**9,
            )  # fmt: skip
            yield Item(entry, partial(io.BytesIO, data))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=500_000)
    parser.add_argument("--work")
    ask = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=ask.work) as name:
        work = Path(name)
        blob = work / "blob"
        with blob.open("wb") as out:
            written = write_layer(items(ask.entries), out.write)
        Store(work / "store")
        (work / "mnt").mkdir()
        with LazyFs.start(work / "mnt", work / "store", RegistryConfig().to_json()) as fs:
            descriptor = Descriptor(
                media_type=OCI_LAYER_GZIP, digest=written.digest, size=written.size
            )
            began = time.perf_counter()
            root, reason = fs.add(descriptor, written.toc_digest, blob=Place.whole(blob))
            ready = time.perf_counter() - began
            assert root, reason
            found = (root / "usr/share/package000/part0001/some-file-03.txt").read_bytes()
            assert found == b"1 3\n"
            status = Path(f"/proc/{fs.pid}/status").read_text()
            print(json.dumps({
                "entries": ask.entries, "blob_MB": written.size // 10**6,
                "layer_ready_s": round(ready, 2),
                "peak_MB": int(status.split("VmHWM:")[1].split()[0]) // 1024,
                "resident_MB": int(status.split("VmRSS:")[1].split()[0]) // 1024,
            }))  # fmt: skip


if __name__ == "__main__":
    main()
