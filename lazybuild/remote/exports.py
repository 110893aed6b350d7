"""What is asked for (`-o`, `--push`) as BuildKit's exporters, and where their streams go here.

The daemon inside a dockerd has an exporter of its own, `moby`: the image appears in that dockerd.
A directory comes as a tar and is unpacked here, where every name of it is checked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from lazybuild.errors import BuildError, UsageError
from lazybuild.exporters import local
from lazybuild.exporters.destination import destination
from lazybuild.oci.descriptor import DOCKER_INDEX, OCI_INDEX
from lazybuild.request import Output
from lazybuild.snapshots import archive
from lazybuild.snapshots.draft import Draft
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.tree import EmptyTree
from lazybuild.wire.control import Export

Opener = Callable[[], AbstractContextManager[BinaryIO]]
LAYERS = {"compression": "estargz", "oci-mediatypes": "true"}
"""Layers that can be mounted lazily, whatever the daemon's own default is."""

MOBY = "moby"
STREAMED = ("oci", "docker", "tar", "local")
ARCHIVE = "files.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`streams` is where the bytes of an export go, by its number."""

    exports: tuple[Export, ...]
    streams: Mapping[int, Opener]


def plan(
    outputs: Sequence[Output],
    names: Sequence[str],
    attrs: Mapping[str, str],
    *,
    inside_docker: bool,
) -> Plan:
    """Exporters for all outputs. No output is an image that stays where it was built."""
    wanted = list(outputs) or [Output(type="image")]
    if inside_docker:
        wanted = [_in_docker(output) for output in wanted]
    exports = tuple(_export(output, names, attrs) for output in wanted)
    streams = {
        number: _stream(output) for number, output in enumerate(wanted) if output.type in STREAMED
    }
    return Plan(exports=exports, streams=streams)


def require_stated(plan: Plan, made: Mapping[str, object], address: str) -> None:
    """A dockerd without the containerd image store drops what was stated, and says nothing. `made`
    is the descriptor of the image.
    """
    inside = any(export.type == MOBY for export in plan.exports)
    if inside and made.get("mediaType") not in (OCI_INDEX, DOCKER_INDEX):
        raise BuildError(
            f"{address}: its image store holds no attestations",
            hint="turn its containerd image store on, or leave --sbom and --provenance out",
        )


def _in_docker(output: Output) -> Output:
    """`--load` and a plain image are the same thing there."""
    if output.type in ("image", "load"):
        return Output(type=MOBY, options=output.options)
    return output


def _export(output: Output, names: Sequence[str], attrs: Mapping[str, str]) -> Export:
    own = dict(output.options)
    name = own.pop("name", ",".join(names))
    named = {"name": name} if name else {}
    match output.type:
        case "image":
            return Export(type="image", attrs={**LAYERS, **attrs, **named, **own})
        case "registry":
            if not name:
                raise UsageError("--push needs a name", hint="give one with -t")
            return Export(type="image", attrs={**LAYERS, **attrs, **named, **own, "push": "true"})
        case "oci":
            return Export(type="oci", attrs={**LAYERS, **attrs, **named, **own})
        case "docker" | "moby":
            return Export(type=output.type, attrs={**attrs, **named, **own})
        case "tar" | "local":
            return Export(type="tar", attrs=own)
        case other:
            raise UsageError(
                f"--output type={other} does not work with --builder",
                hint="--push it, or write it with -o type=docker,dest=FILE",
            )


def _stream(output: Output) -> Opener:
    if output.type == "local":
        return partial(_directory, Path(output.dest))
    if output.options.get("tar") == "false":
        raise UsageError("--output tar=false does not work with --builder")
    return partial(destination, output.dest)


@contextmanager
def _directory(dest: Path) -> Iterator[BinaryIO]:
    """Takes a tar; at its end the files are in `dest`."""
    with TemporaryDirectory(prefix="lazybuild-") as folder:
        whole = Path(folder) / ARCHIVE
        with whole.open("wb") as out:
            yield out
        draft = Draft(EmptyTree())
        target = archive.Target(draft=draft, path="", ids=None, mtime=0)
        archive.lay_out(HostTree(Path(folder)), ARCHIVE, target, archive.Rules(spool=Path(folder)))
        local.export(draft, dest)
