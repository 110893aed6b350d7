"""Many builds at a time on one store, some of them killed; and what a store must be after that."""

import hashlib
import json
import random
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from support.building import Builder

# The order of a layer tells of the builds before: without it the same files are the same bytes.
SAME = ("--source-date-epoch", "1700000000", "--no-prefetch")


def recipes(base):
    """Dockerfiles that share steps with one another, in several shapes."""
    shared = f"FROM {base} AS dev\nRUN echo shared > /shared\n"
    return {
        "run": shared + "RUN echo run > /run1 && cat /shared >> /run1\n",
        "copy": shared + "COPY data /data\nRUN sort /data/words > /sorted\n",
        "stages": shared
        + f"FROM {base} AS other\nRUN echo other > /other; sleep 0.2\n"
        + f"FROM {base}\nCOPY --from=dev /shared /a\nCOPY --from=other /other /b\n",
        "scratch": "FROM scratch\nCOPY data /data\nWORKDIR /w\n",
        "many": shared + "".join(f"RUN echo {n} > /n{n}\n" for n in range(5)),
        "remove": shared
        + "RUN rm /shared /bin/perl; mkdir -p /d/e; chmod 700 /d; chown 1:1 /d/e\n",
        "mount": shared + "RUN --mount=type=cache,target=/c --mount=type=bind,source=data,target=/m"
        " cp /m/words /copied || cat /m/words > /copied; echo x >> /c/log\n",
    }


@dataclass
class Outcome:
    """What the builds came to: digests by recipe, how many were killed, what failed."""

    digests: dict = field(default_factory=dict)
    killed: int = 0
    failures: list = field(default_factory=list)


class Soak:
    """Builds over one store. `kill` is the share that ends by kill -9, at a random moment."""

    def __init__(self, builder: Builder, base: str, seed: int = 1, kill: float = 0.3):
        self.builder = builder
        self.base = base
        self.random = random.Random(seed)
        self.kill = kill
        self.outcome = Outcome()
        self.lock = threading.Lock()
        self.contexts = {name: self._context(text) for name, text in recipes(base).items()}

    def _context(self, text):
        words = "".join(f"word {n * 7919 % 1000}\n" for n in range(1000))
        return self.builder.context({"Dockerfile": text, "data/words": words})

    def run(self, count, parallel):
        jobs = [
            (self.random.choice(sorted(self.contexts)), self._moment(), number)
            for number in range(count)
        ]
        with ThreadPoolExecutor(parallel) as pool:
            list(pool.map(lambda job: self.one(*job), jobs))
        return self.outcome

    def _moment(self):
        return self.random.uniform(0.05, 2.0) if self.random.random() < self.kill else None

    def one(self, name, moment, number):
        metadata = self.builder.folder / f"soak-{number}.json"
        process = self.builder.start(
            "build", *SAME, "-t", f"soak-{name}", "--metadata-file", metadata, self.contexts[name]
        )
        if moment is not None:
            time.sleep(moment)
            process.kill()
        _, err = process.communicate(timeout=300)
        with self.lock:
            if process.returncode == 0:
                digest = json.loads(metadata.read_text())["containerimage.digest"]
                self.outcome.digests.setdefault(name, set()).add(digest)
            elif moment is not None and process.returncode == -9:
                self.outcome.killed += 1
            else:
                self.outcome.failures.append((name, process.returncode, err.decode()[-3000:]))

    def serial(self, builder):
        """The digest of each recipe, built alone in another store."""
        return {
            name: builder.build(context, *SAME, "-t", f"soak-{name}").digest
            for name, context in self.contexts.items()
        }


def damage(root: Path) -> list[str]:
    """What is wrong with a store that nobody uses: blobs, names, rows."""
    found = [
        f"blob {path.name}"
        for path in (root / "blobs/sha256").iterdir()
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    ]
    database = sqlite3.connect(root / "meta.db")
    if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
        found.append("database")
    for name, text in database.execute("SELECT name, descriptor FROM images"):
        found += [f"{name}: {item}" for item in _missing(root, json.loads(text), name)]
    rows = "SELECT id, descriptor, directory, origins FROM layers"
    for layer, text, directory, origins in database.execute(rows):
        if directory and not (root / "snapshots" / layer / "fs").is_dir():
            found.append(f"layer {layer} has no directory")
        if not directory and text and origins == "[]":
            found += [f"layer {layer}: {item}" for item in _absent(root, json.loads(text))]
    json.loads((root / "index.json").read_text())
    database.close()
    return found


def _missing(root, descriptor, name):
    absent = _absent(root, descriptor)
    if absent:
        return absent
    manifest = json.loads((root / "blobs/sha256" / descriptor["digest"][7:]).read_text())
    return _absent(root, manifest["config"])


def _absent(root, descriptor):
    path = root / "blobs/sha256" / descriptor["digest"][7:]
    return [] if path.exists() else [f"no blob {descriptor['digest']}"]


def leftovers(builder: Builder) -> list[str]:
    """Temporary things that a collection leaves, once those of the killed are old enough."""
    aged = time.time() - 3600
    for path in (builder.root / "tmp").iterdir():
        subprocess.run(
            ["touch", "-h", "-d", f"@{aged:.0f}", path], check=False, capture_output=True
        )
    builder.run("prune", "--force")
    return sorted(path.name for path in (builder.root / "tmp").iterdir())
