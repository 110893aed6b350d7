"""Kills a process at the n-th call that makes something durable or visible. Run as a program.

    python crashes.py ROOT    one JSON line for each place to die at; the last says it was the end

Each attempt is a fork of a process that has everything imported, so the whole costs seconds.
"""

import itertools
import json
import os
import signal
import sys
from pathlib import Path

from support.stores import age, put_image, put_layer

from lazybuild.oci import codec
from lazybuild.store import Store, gc

CALLS = ("rename", "fsync", "link", "unlink", "rmdir")
NAMES = ("docker.io/library/a:1", "docker.io/library/b:1")


def scenario(root: Path) -> None:
    """What builds do to a store: make it, commit twice, tag over, publish a directory, prune."""
    with Store(root) as store, store.lease("build"):
        put_image(store, NAMES[0], b"base", b"one")
        with store.scratch.directory("step") as home:
            (home / "fs").mkdir()
            home.rename(store.root / "snapshots" / "dir")
        store.meta.put_layer(put_layer(store, b"run", "dir"))
        store.meta.save_record("k", ["dir"], "RUN x")
        store.chunks.put(put_layer(store, b"c", "c").descriptor.digest, b"c")
        put_image(store, NAMES[1], b"base", b"two")
        store.tag(NAMES[0], put_image(store, NAMES[1], b"three"))
        store.untag(NAMES[1])
    with Store(root) as store:
        gc.prune(store, gc.Policy(unused_for=0, everything=True))


def die_at(number: int, *, after: bool) -> None:
    """Be killed at call `number`, before it is made or when it has been made."""
    counter = itertools.count(1)

    def fatal(real):
        def call(*args, **keywords):
            mine = next(counter)
            if mine == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **keywords)
            if mine == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in CALLS:
        setattr(os, name, fatal(getattr(os, name)))


def survived(root: Path, number: int, *, after: bool) -> bool:
    """Whether the scenario ended before its call `number`."""
    pid = os.fork()
    if pid == 0:
        die_at(number, after=after)
        scenario(root)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert status == 0, status
    return True


def inspect(root: Path) -> dict[str, object]:
    """What the next user of the store finds."""
    with Store(root) as store:
        wrong = list(_wrong(store))
        for name in list(store.meta.images()):
            store.untag(name)
        age(store)
        done = gc.prune(store, gc.Policy(unused_for=0, everything=True))
        left = [
            str(path.relative_to(root))
            for folder in ("blobs/sha256", "tmp", "snapshots", "leases")
            for path in (root / folder).iterdir()
        ]
        return {"wrong": wrong + list(done.stuck), "left": left}


def _wrong(store: Store):
    index = codec.parse_index((store.root / "index.json").read_bytes())
    named = [item for item, _ in store.meta.images().values()] + list(index.manifests)
    for digest in store.closure(named):
        if not store.blobs.path(digest).exists():
            yield f"an image lacks {digest}"
    for layer, _ in store.meta.layers():
        if layer.descriptor and not store.blobs.path(layer.descriptor.digest).exists():
            yield f"layer {layer.id} lacks its blob"
        if layer.directory and not store.snapshot_dir(layer.id).exists():
            yield f"layer {layer.id} lacks its directory"


def main(top: Path) -> None:
    for number in itertools.count(1):
        ended = [survived(top / f"{number}{after}", number, after=after) for after in (False, True)]
        found = [inspect(top / f"{number}{after}") for after in (False, True)]
        line = json.dumps({"number": number, "ended": all(ended), "found": found})
        sys.stdout.write(line + "\n")
        if all(ended):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
