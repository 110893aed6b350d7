"""Builds for several platforms: one image for each, and an index over them.

Whether a platform's commands can run here is asked before anything runs.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lazybuild.build import transfer
from lazybuild.build.deliver import push_names
from lazybuild.build.library import Found
from lazybuild.build.space import Space
from lazybuild.errors import HostError, NotSupportedYetError
from lazybuild.llb.graph import Vertex, walk
from lazybuild.llb.ops import ExecOp
from lazybuild.oci import codec, platform, reference
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import OCI_MANIFEST, Descriptor
from lazybuild.oci.image import Index
from lazybuild.request import BuildRequest, BuildResult, BuildStats

BINFMT = Path("/proc/sys/fs/binfmt_misc")
QEMU = {
    "amd64": "x86_64", "386": "i386", "arm64": "aarch64", "arm": "arm", "ppc64le": "ppc64le",
    "s390x": "s390x", "riscv64": "riscv64", "mips64le": "mips64el", "loong64": "loongarch64",
}  # fmt: skip


def require_runnable(head: Vertex) -> None:
    """HostError when a command is for a machine that this one neither is nor emulates."""
    host = platform.host()
    for vertex in walk(head):
        if not isinstance(vertex.op, ExecOp) or vertex.platform is None:
            continue
        wanted = platform.parse(str(vertex.platform))
        if not platform.matches(wanted, host) and not _emulated(wanted.architecture):
            raise HostError(
                f"{vertex.name}: commands for {wanted} can't run on this {host} host",
                hint="register an emulator (apt install qemu-user-static), build on such a host and"
                " put the images together with `lazybuild manifest create`, or copy instead of RUN",
            )


def _emulated(architecture: str) -> bool:
    handler = BINFMT / f"qemu-{QEMU.get(architecture, architecture)}"
    try:
        return handler.read_text().startswith("enabled")
    except OSError:
        return False


def check_outputs(request: BuildRequest) -> None:
    for output in request.outputs if len(request.platforms) > 1 else ():
        if output.type not in ("registry", "image"):
            raise NotSupportedYetError(
                f"output {output.type} of several platforms is not supported yet",
                hint="push it, or keep it in the store",
            )


def put_together(
    space: Space, request: BuildRequest, results: Sequence[BuildResult]
) -> BuildResult:
    """The index over what was built, named and pushed as the request asks."""
    index = Index(manifests=tuple(_entry(result) for result in results))
    data = codec.encode(index)
    space.store.blobs.put(data)
    described = codec.describe(index, data)
    names = [reference.parse(tag) for tag in request.tags]
    for name in names:
        space.store.tag(str(name), described)
    for output in request.outputs:
        for name in push_names(output, names):
            found = Found(reference=name, descriptor=described, stored=True)
            transfer.push(space, found, name)
    return replace(
        results[-1],
        digest=described.digest,
        descriptor=json.loads(codec.encode(described)),
        names=tuple(name.familiar for name in names),
        stats=_sum([result.stats for result in results]),
        platform=",".join(result.platform for result in results),
    )


def _entry(result: BuildResult) -> Descriptor:
    wanted = platform.parse(result.platform)
    return Descriptor(
        media_type=OCI_MANIFEST,
        digest=digests.parse(result.digest),
        size=int(str(result.descriptor["size"])),
        platform=wanted.as_json(),
    )


def _sum(stats: Sequence[BuildStats]) -> BuildStats:
    """All of them were made in one solve: the last one has its steps and its time."""
    return replace(
        stats[-1],
        layers=tuple({it.digest: it for item in stats for it in item.layers}.values()),
        prefetch=tuple(entry for item in stats for entry in item.prefetch),
    )
