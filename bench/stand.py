"""What the cases stand on: registries, stores, measured commands. Knows no case."""

import contextlib
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

SOURCES = Path(__file__).parent.parent
sys.path.insert(0, str(SOURCES / "tests"))

from support.docker_registry import DockerRegistry  # noqa: E402  it lies beside the tests

from lazybuild.oci.descriptor import OCI_MANIFEST, TOC_DIGEST  # noqa: E402  as above

SAMPLE = 0.02
ELSEWHERE = "/"  # python -m looks in the current folder first: sources that nobody has compiled


@dataclass(frozen=True)
class Spent:
    """What a command took. `cpu` is that of all its processes; memory is in MB, 0 if not watched.

    `memory` is the highest sum of the resident sizes of the builder and its daemon.
    """

    wall: float
    cpu: float
    memory: int = 0
    metadata: dict = field(default_factory=dict)

    @property
    def stats(self):
        return self.metadata["lazybuild.stats"]

    def step_seconds(self, part):
        return [step["seconds"] for step in self.stats["steps"] if part in step["name"]]


class Stand:
    """A folder for everything; data that is dear to make stays in it from run to run."""

    def __init__(self, folder: Path, base_tar: Path, small_tar: Path, repeat: int) -> None:
        self.folder, self.base_tar, self.small_tar = folder, base_tar, small_tar
        self.repeat = repeat
        self.runs = folder / "runs"
        for place in (self.runs, folder / "registry"):
            place.mkdir(parents=True, exist_ok=True)
        self.registry = DockerRegistry(folder / "registry")

    def close(self) -> None:
        self.registry.close()

    @contextlib.contextmanager
    def store(self):
        """An empty store, and what is in it taken away at the end (some of it is not ours)."""
        place = Path(tempfile.mkdtemp(dir=self.runs))
        try:
            yield place / "store"
        finally:
            self.lazybuild(place / "store", "prune", "--all", "--force")
            shutil.rmtree(place, ignore_errors=True)

    @contextlib.contextmanager
    def context(self, files):
        with tempfile.TemporaryDirectory(dir=self.runs) as folder:
            for name, data in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data if isinstance(data, bytes) else data.encode())
            yield Path(folder)

    def lazybuild(self, store, *words):
        """Run it to its end; a failure ends the benchmark with all that was said."""
        run = subprocess.run(
            self.command(*words), env=self.environment(store), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False, cwd=ELSEWHERE,
        )  # fmt: skip
        if run.returncode and "prune" not in words:
            raise SystemExit(f"{words}: {run.stderr}")
        return run.stdout

    def command(self, *words):
        return [sys.executable, "-m", "lazybuild", *map(str, words)]

    def environment(self, store):
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LAZYBUILD_ROOT": str(store),
            "PYTHONPATH": str(SOURCES),
        }

    def timed(self, store, *words, watch=False):
        """A whole process from its start to its end."""
        before, began = os.times(), time.perf_counter()
        process = subprocess.Popen(
            self.command(*words), env=self.environment(store), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ELSEWHERE,
        )  # fmt: skip
        watcher = Watcher(process.pid) if watch else None
        _, said = process.communicate()
        wall, after = time.perf_counter() - began, os.times()
        if process.returncode:
            raise SystemExit(f"{words}: {said}")
        cpu = after.children_user + after.children_system
        cpu -= before.children_user + before.children_system
        return Spent(wall=wall, cpu=cpu, memory=watcher.stop() if watcher else 0)

    def measured(self, program, *words, inside=False):
        """The object that a program beside this one prints; `inside` user and mount namespaces."""
        enter = ("unshare", "-Ur", "-m") if inside else ()
        command = [*enter, sys.executable, SOURCES / "bench" / program, *words]
        run = subprocess.run(
            list(map(str, command)), env=self.environment(self.runs), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True, check=True, cwd=ELSEWHERE,
        )  # fmt: skip
        return json.loads(run.stdout)

    def build(self, store, context, *flags, watch=False):
        metadata = store.parent / "metadata.json"
        words = ("build", *flags, "--metadata-file", metadata, context)
        spent = self.timed(store, *words, watch=watch)
        return dataclasses.replace(spent, metadata=json.loads(metadata.read_text()))

    # images that the cases start from

    def layer(self, image):
        """(file, TOC digest) of the only layer of an image of ours."""
        name, _, tag = image.partition(":")
        url = f"http://{self.registry.host}/v2/{name}/manifests/{tag}"
        asked = urllib.request.Request(url, headers={"Accept": OCI_MANIFEST})
        with urllib.request.urlopen(asked) as answer:
            (layer,) = json.load(answer)["layers"]
        kind, _, number = layer["digest"].partition(":")
        blobs = self.folder / "registry/registry/docker/registry/v2/blobs"
        return blobs / kind / number[:2] / number / "data", layer["annotations"][TOC_DIGEST]

    def image(self, name, *flags):
        """The base as an image of the registry, made when it is not there yet."""
        kept = self.folder / "registry/registry/docker/registry/v2/repositories" / name
        if not (kept / "_manifests/tags/1").exists():
            with self.store() as store, self.context({"Dockerfile": BASE}) as context:
                copy = os.link if _near(self.base_tar, context) else shutil.copyfile
                copy(self.base_tar, context / "rootfs.tar")
                where = f"{self.registry.host}/{name}:1"
                self.lazybuild(store, "build", *flags, "-t", where, "--push", context)
        return f"{name}:1"


BASE = 'FROM scratch\nADD rootfs.tar /\nCMD ["bash"]\n'


def _near(path, folder):
    """Whether a link will do: on the same disk, and ours (the kernel protects others' files)."""
    found = path.stat()
    return found.st_dev == folder.stat().st_dev and found.st_uid == os.getuid()


class Watcher:
    """Samples the memory of a process and the daemon it starts, but not of steps."""

    def __init__(self, pid):
        self.pid, self.peak = pid, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self):
        self._end.set()
        self._thread.join()
        return self.peak

    def _watch(self):
        while not self._end.wait(SAMPLE):
            self.peak = max(self.peak, sum(map(_resident, self._ours())) >> 10)

    def _ours(self):
        yield self.pid
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                for child in (task / "children").read_text().split():
                    if b"lazyfs.daemon" in Path(f"/proc/{child}/cmdline").read_bytes():
                        yield int(child)


def _resident(pid):
    """In KiB, pages of files and libraries included."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(text.split("VmRSS:")[1].split()[0]) if "VmRSS:" in text else 0


def median(values):
    return statistics.median(values)


def busy() -> float:
    """The load of the last minute: figures under a high one are the machine's, not ours."""
    return os.getloadavg()[0]
