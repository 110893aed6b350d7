"""What a host has and lacks for rootless builds, as findings with a remedy each; found by trying.

Needs a process with a single thread, as the ladder does, and leaves it where it was.
"""

import os
import pwd
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from lazybuild.build import ground
from lazybuild.build.finding import Finding
from lazybuild.build.surroundings import surroundings
from lazybuild.errors import HostError
from lazybuild.executor import causes, idmap, ladder, mapping, trial
from lazybuild.executor.host import Host

ALL_IDS = 65536
OLDEST_KERNEL = (5, 13)


def findings(root: Path) -> list[Finding]:
    """All of them, the ladder's verdict first."""
    return [
        *ladder_findings(root),
        kernel(),
        *ground.findings(root),
        network(),
        *surroundings(root),
    ]


def can_build(found: list[Finding]) -> bool:
    return all(finding.verdict != "no" for finding in found)


# --- the ladder ----------------------------------------------------------------------------------


def ladder_findings(root: Path) -> Iterator[Finding]:
    try:
        host = ladder.probe(root)
    except HostError as error:
        yield Finding(name="tier", verdict="no", text=error.message, fix=error.hint)
        return
    yield Finding(name="tier", verdict="ok", text=f"{host.tier}: {host.reason}")
    if not host.mounts:
        yield chroot()
        return
    if host.one_id:
        yield one_id()
    elif host.ids == "range":
        yield entered(host)
    if not host.pids:
        yield masked()
    yield fuse(host) if host.overlay else copies(root)


def entered(host: Host) -> Finding:
    """Take the step for real, in a child: ranges of ids that can't be mapped show only here."""
    complaint = _in_child(lambda: ladder.enter(host))
    if complaint:
        message, _, hint = complaint.partition("\0")
        return Finding(name="ids", verdict="no", text=message, fix=hint)
    count = min(_mapped(mapping.SUBUID), _mapped(mapping.SUBGID))
    if count < ALL_IDS:
        return Finding(
            name="ids",
            verdict="warn",
            text=f"{count} ids are mapped: files of users above that can't be made or unpacked",
            fix=f"give this user {ALL_IDS} in /etc/subuid and /etc/subgid:"
            f" sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {_user()}",
        )
    return Finding(name="ids", verdict="ok", text=f"newuidmap and newgidmap map {count} ids")


def one_id() -> Finding:
    return Finding(
        name="ids",
        verdict="warn",
        text="this user has one id: owners are noted and changes of user faked, so what one user of"
        " a step may do to the files of another is not checked",
        fix=f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {_user()}"
        " (and apt-get install uidmap)",
    )


def chroot() -> Finding:
    return Finding(
        name="chroot",
        verdict="warn",
        text="no namespaces: steps have no /proc and no network of their own, and could reach"
        " other processes of this container",
        fix=causes.CONTAINER_FLAGS,
    )


def copies(root: Path) -> Finding:
    return Finding(
        name="overlay",
        verdict="warn",
        text=f"overlay does not work on {root}: base layers are fetched whole, and each step works"
        " on a copy of all files",
        fix="choose a directory on a local disk or volume with --root (docker run -v, in Kubernetes"
        " an emptyDir); on kernels before 5.13 a newer one",
    )


def masked() -> Finding:
    return Finding(
        name="proc",
        verdict="warn",
        text="/proc is masked: steps share the process table of this container",
        fix="docker run --security-opt systempaths=unconfined; in Kubernetes procMount: Unmasked"
        " with hostUsers: false",
    )


def _mapped(file: Path) -> int:
    return sum(count for _, count in idmap.ranges_of(os.getuid(), file))


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def fuse(host: Host) -> Finding:
    if host.fuse:
        return Finding(name="fuse", verdict="ok", text=f"{trial.FUSE} can be mounted: lazy bases")
    return Finding(
        name="fuse",
        verdict="warn",
        text=f"base layers are fetched whole: {host.reason.partition(': ')[2] or 'no FUSE'}",
        fix="docker run --device /dev/fuse; in Kubernetes a device plugin that offers /dev/fuse;"
        " on a plain host: sudo modprobe fuse && sudo chmod 666 /dev/fuse",
    )


def _in_child(action: Callable[[], None]) -> str:
    """What goes wrong in a child, as "message NUL hint"; "" if nothing does."""
    said, status = trial.told(lambda: _complaint(action))
    return said or ("the trial died\0" if status else "")


def _complaint(action: Callable[[], None]) -> str:
    try:
        action()
    except HostError as error:
        return f"{error.message}\0{error.hint}"
    except OSError as error:
        return f"{error}\0"
    return ""


# --- the rest ------------------------------------------------------------------------------------


def kernel() -> Finding:
    release = os.uname().release
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found[1]), int(found[2])) < OLDEST_KERNEL:
        return Finding(
            name="kernel",
            verdict="warn",
            text=f"Linux {release}: overlay in user namespaces is young here",
            fix="use Linux 5.13 or newer",
        )
    return Finding(name="kernel", verdict="ok", text=f"Linux {release}")


def network() -> Finding:
    """Steps use the host's network, so its name servers are theirs."""
    try:
        text = Path("/etc/resolv.conf").read_text(errors="replace")
    except OSError:
        text = ""
    servers = re.findall(r"(?m)^\s*nameserver\s+(\S+)", text)
    if servers:
        return Finding(name="dns", verdict="ok", text=f"name servers: {' '.join(servers)}")
    return Finding(
        name="dns",
        verdict="warn",
        text="/etc/resolv.conf names no server: steps can't resolve names",
        fix="echo nameserver ADDRESS | sudo tee -a /etc/resolv.conf",
    )
