"""Whether commands for a platform can run on this machine: asked before anything runs."""

from pathlib import Path

from lazybuild.errors import HostError
from lazybuild.llb.graph import Vertex, walk
from lazybuild.llb.ops import ExecOp
from lazybuild.oci import platform

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
