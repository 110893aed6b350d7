"""Which files of an image's layers come first when it is converted: lists, records, a run of it.

Records are the JSON lines of ctr-remote (path, manifestDigest, layerIndex), so that both tools can
use each other's. All of it is only an order: a name that is not there is left out.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lazybuild.build import container
from lazybuild.build.container import Wish
from lazybuild.build.shelf import Shelf
from lazybuild.build.space import Space
from lazybuild.build.traced import TracedLayers
from lazybuild.errors import UsageError
from lazybuild.events import Warned
from lazybuild.executor import run as executor
from lazybuild.executor.run import Stdio
from lazybuild.executor.spec import StepSpec
from lazybuild.oci.digest import Digest
from lazybuild.snapshots.lazyfs.trace import OpenTrace
from lazybuild.snapshots.patterns import Patterns

MAX_LIST = 4 << 20
MAX_NAMES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A file that was read first: its layer by number in a manifest, bottom first from 0."""

    path: str
    manifest: str
    layer: int


@dataclass(slots=True, kw_only=True)
class Wanted:
    """`named` by layer number, in order; `patterns` count in every layer, after the names."""

    named: Mapping[int, list[str]] = field(default_factory=dict)
    patterns: Sequence[str] = ()

    def of(self, number: int, names: Sequence[str]) -> list[str]:
        """The names to put first among those of a layer."""
        present = set(names)
        found = [name for name in self.named.get(number, ()) if name in present]
        for pattern in self.patterns:
            matcher = Patterns([pattern])
            found += [name for name in names if matcher.match_deep(name)]
        return list(dict.fromkeys(found))

    def speaks_of(self, number: int) -> bool:
        return bool(self.named.get(number) or self.patterns)


# --- lists and records ---------------------------------------------------------------------------


def read_list(path: str) -> list[str]:
    """Patterns, one a line; blank lines and lines that begin with # are left out."""
    lines = (line.strip() for line in _text(path).splitlines())
    return [line.strip("/") for line in lines if line and not line.startswith("#")]


def read_records(path: str) -> list[Record]:
    return [_record(path, line) for line in _text(path).splitlines() if line.strip()]


def write_records(path: str, records: Iterable[Record]) -> None:
    lines = [
        json.dumps(
            {"path": item.path, "manifestDigest": item.manifest, "layerIndex": item.layer},
            separators=(",", ":"),
        )
        for item in records
    ]
    Path(path).write_text("".join(f"{line}\n" for line in lines))


def by_layer(records: Iterable[Record], manifest: Digest) -> dict[int, list[str]]:
    """The names of one image, by layer."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for item in records:
        if item.manifest == manifest:
            found[item.layer].append(item.path)
    return found


def _record(path: str, line: str) -> Record:
    try:
        value = json.loads(line)
        name, manifest, layer = value["path"], value["manifestDigest"], value["layerIndex"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"{path}: not a record of ctr-remote: {line[:80]!r}") from error
    if not (isinstance(name, str) and isinstance(manifest, str) and type(layer) is int):
        raise UsageError(f"{path}: not a record of ctr-remote: {line[:80]!r}")
    return Record(path=name.strip("/"), manifest=manifest, layer=layer)


def _text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_LIST + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_LIST:
        raise UsageError(f"{path} is larger than {MAX_LIST >> 20} MiB")
    return data.decode("utf-8", "surrogateescape")


# --- a run of the image --------------------------------------------------------------------------


def watch_run(space: Space, shelf: Shelf, command: str) -> list[Record]:
    """Run a command in the image and see which files it reads; the space has been entered."""
    words = Wish(command=("/bin/sh", "-c", command), entrypoint=())
    config = shelf.config.config
    with shelf.snapshots.mount(shelf.snapshot) as step:
        spec = StepSpec(
            argv=words.command,
            rootfs=step.merged,
            env=container.environment(config, words),
            cwd=config.working_dir or "/",
            user=config.user,
            host=space.entered,
        )
        lazy = space.lazy_if_started()
        start = len(lazy.trace()) if lazy else 0
        layers = TracedLayers(space, shelf.snapshots, bases=True).of(shelf.snapshot)
        with OpenTrace(step.merged, layers) as opened:
            ended = executor.run(spec, lambda _stream, _data: None, space.stop, Stdio())
            found = opened.stop()
    space.check()
    if ended.status:
        raise UsageError(f"--prefetch-run {command}: {ended}")
    if lacking := opened.lacking or _unseen(space, shelf):
        space.sink(Warned(message=f"--prefetch-run: not all that it reads was seen: {lacking}"))
    return list(_records(shelf, [*found, *(lazy.trace(start) if lazy else ())]))


def _unseen(space: Space, shelf: Shelf) -> str:
    """What is known of a file in a copy is whose it was, if a table of contents tells."""
    layers = [shelf.snapshots.layer(layer_id) for layer_id in shelf.snapshot.layers]
    if space.copies() is None or all(it.toc_digest or it.directory for it in layers):
        return ""
    return "layers can't be stacked here, and some have no table of contents"


def _records(shelf: Shelf, found: Iterable[tuple[str, str]]) -> Iterator[Record]:
    """Names come with the id of a layer or with the digest of its blob."""
    numbers: dict[str, int] = {}
    for number, layer_id in enumerate(shelf.snapshot.layers):
        numbers[layer_id] = number
        numbers[shelf.taken.manifest.layers[number].digest] = number
    for place, name in list(found)[:MAX_NAMES]:
        if place in numbers:
            yield Record(path=name, manifest=shelf.taken.descriptor.digest, layer=numbers[place])
