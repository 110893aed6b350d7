"""A mounted lazy file system for tests that run inside a namespace of their own."""

import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from support import layers

from lazybuild.estargz.reader import open_toc
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.digest import Digest
from lazybuild.registry.config import RegistryConfig
from lazybuild.snapshots.lazyfs.client import LazyFs
from lazybuild.store import Place, Store


@contextmanager
def lazyfs(place: Path, *, handlers=None, config=None):
    Store(place / "store")
    mountpoint = place / "lazy"
    mountpoint.mkdir(exist_ok=True)
    registry = config or RegistryConfig(retries=1, retry_wait=0.05, patience=0.5)
    with LazyFs.start(mountpoint, place / "store", registry.to_json(), handlers=handlers) as fs:
        yield fs


@contextmanager
def on_go(place: Path, action):
    """Do `action` here, in the parent, when the child in the namespace calls `go`."""
    asked, done = place / "go", place / "gone"
    ending = threading.Event()

    def watch():
        while not ending.wait(0.01):
            if asked.exists():
                action()
                done.touch()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def go(place: Path):
    (place / "go").touch()
    deadline = time.monotonic() + 10
    while not (place / "gone").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def describe(written):
    return Descriptor(media_type=OCI_LAYER_GZIP, digest=Digest(written.digest), size=written.size)


def add_local(fs, place, items, **options):
    blob, written = layers.write(items, **options)
    path = place / written.digest[7:]
    path.write_bytes(blob)
    folder, reason = fs.add(describe(written), written.toc_digest, blob=Place.whole(path))
    assert folder is not None, reason
    return folder, written


class Pushed:
    """A layer at a registry that the parent of the namespace runs. `add` it in there."""

    def __init__(self, registry, items, *, repository="base", **options):
        blob, self.written = layers.write(items, **options)
        registry.put_blob(repository, blob)
        self.origin = f"{registry.host}/{repository}"

    def add(self, fs):
        folder, reason = fs.add(
            describe(self.written), self.written.toc_digest, origins=[self.origin]
        )
        assert folder is not None, reason
        return folder


def describe_file(path):
    data = Path(path).read_bytes()
    return Descriptor(media_type=OCI_LAYER_GZIP, digest=Digest(layers.digest(data)), size=len(data))


def retold(blob, change):
    """(the blob with another TOC, that TOC's digest); `change` edits the list of entries."""
    found = open_toc(layers.Bytes(blob))
    document = json.loads(found.raw)
    change(document["entries"])
    told = json.dumps(document).encode()
    return layers.blob_with_toc(told, blob[: found.data_end]), layers.digest(told)
