"""What surrounds a builder that works today and may bite tomorrow: helpers, ranges, confinement.

Reads files and tries nothing; says only what deserves a remedy.
"""

import os
import re
import resource
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from lazybuild.build.finding import Finding
from lazybuild.executor import causes, idmap, mapping

PROC = Path("/proc")
NSSWITCH = Path("/etc/nsswitch.conf")
FEW_FILES = 4096
FEW_NAMESPACES = 64
FEW_INODES = 100_000
HELPERS = ("newuidmap", "newgidmap")


def surroundings(root: Path) -> Iterator[Finding]:
    yield from helpers()
    yield from overlaps()
    yield from sources()
    yield from confinement()
    yield from runner()
    yield from namespaces()
    yield from files()
    yield from inodes(root)
    yield from home()


def helpers() -> Iterator[Finding]:
    """Copies of images lose setuid bits and file capabilities; nosuid mounts ignore them."""
    if os.geteuid() == 0:
        return
    for name in HELPERS:
        path = shutil.which(name)
        if path and not _privileged(path):
            yield Finding(
                name="helper",
                verdict="no",
                text=f"{path} is neither setuid root nor has file capabilities",
                fix=f"sudo chown root {path} && sudo chmod u+s {path}",
            )
        elif path and os.statvfs(path).f_flag & os.ST_NOSUID:
            yield Finding(
                name="helper",
                verdict="no",
                text=f"{path} lies on a file system that is mounted nosuid",
                fix="mount it without nosuid; in Kubernetes allowPrivilegeEscalation: true",
            )


def _privileged(path: str) -> bool:
    status = os.stat(path)  # noqa: PTH116 - beside getxattr, which takes no Path's method
    if status.st_uid == 0 and status.st_mode & stat.S_ISUID:
        return True
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:  # none, or a file system without attributes
        return False


def overlaps(files: tuple[Path, ...] = (mapping.SUBUID, mapping.SUBGID)) -> Iterator[Finding]:
    """Ids that two users may map are no boundary between them."""
    own = idmap.owners(os.getuid())
    for path in files:
        ours, theirs = _ranges(path, own)
        shared = next((other for other in theirs if any(_meet(other, it) for it in ours)), None)
        if shared:
            yield Finding(
                name="ranges",
                verdict="warn",
                text=f"{path}: another user may map ids of ours ({shared[0]}:{shared[1]}) too",
                fix=f"give each user a range of its own in {path}",
            )


def _ranges(
    path: Path, own: tuple[str, ...]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return [], []
    ours = idmap.parse("\n".join(lines), own)
    names = {line.strip().partition(":")[0] for line in lines} - {*own}
    return ours, idmap.parse("\n".join(lines), sorted(names))


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < sum(other) and other[0] < sum(one)


def confinement(proc: Path = PROC) -> Iterator[Finding]:
    """AppArmor's profile of containers lets namespaces be made and refuses their mounts."""
    label = _read(proc / "self/attr/current")
    if label.startswith(("docker-default", "cri-containerd", "containers-default")):
        yield Finding(
            name="confine",
            verdict="warn",
            text=f"AppArmor's profile {label.split()[0]} lies on this container",
            fix="docker run --security-opt apparmor=unconfined; in Kubernetes"
            " appArmorProfile: {type: Unconfined}",
        )


def sources(path: Path = NSSWITCH) -> Iterator[Finding]:
    """Ranges of a directory service are those of newuidmap, but are not in the files."""
    found = re.search(r"(?m)^subid:\s*(.*\S)", _read(path))
    if found and "files" not in found[1].split() and not _own_lines():
        yield Finding(
            name="ranges",
            verdict="warn",
            text=f"ranges of ids come from {found[1]} ({path}), which is not asked",
            fix=f"write this user's range (getsubids shows it) into {mapping.SUBUID} and"
            f" {mapping.SUBGID}",
        )


def _own_lines() -> bool:
    return any(idmap.has_range(os.getuid(), path) for path in (mapping.SUBUID, mapping.SUBGID))


def runner(proc: Path = PROC) -> Iterator[Finding]:
    """GitHub's runners from ubuntu-24.04 on have a restriction that a workflow may lift.

    Sources: actions/runner-images#10443; GitHub's docs, "Variables reference": GITHUB_ACTIONS.
    """
    if os.environ.get("GITHUB_ACTIONS") and causes.sysctl(causes.APPARMOR, proc) == "1":
        yield Finding(
            name="runner",
            verdict="warn",
            text=f"this runner of GitHub's has {causes.APPARMOR}=1",
            fix=f"a step before the build: run: sudo sysctl -w {causes.APPARMOR}=0",
        )


def namespaces(proc: Path = PROC) -> Iterator[Finding]:
    limit = _read(proc / "sys/user/max_user_namespaces")
    if limit.isdecimal() and int(limit) < FEW_NAMESPACES:
        yield Finding(
            name="limit",
            verdict="warn",
            text=f"user.max_user_namespaces is {limit}: few builds can run at once",
            fix="sudo sysctl -w user.max_user_namespaces=28633",
        )


def files() -> Iterator[Finding]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < FEW_FILES:
        yield Finding(
            name="files",
            verdict="warn",
            text=f"a process may have {hard} files open: large lazy bases need more",
            fix="docker run --ulimit nofile=65536; on a plain host LimitNOFILE= or"
            " /etc/security/limits.conf",
        )


def inodes(root: Path) -> Iterator[Finding]:
    status = os.statvfs(root)
    if status.f_files and status.f_favail < FEW_INODES:
        yield Finding(
            name="inodes",
            verdict="warn",
            text=f"only {status.f_favail} more files fit on the file system of {root}",
            fix="lazybuild prune, or choose another place with --root",
        )


def home() -> Iterator[Finding]:
    """Ids without a home, as OpenShift gives them, have their store in a place for all."""
    place = os.environ.get("HOME", "")
    named = os.environ.get("LAZYBUILD_ROOT") or os.environ.get("XDG_DATA_HOME")
    if not named and not (place and os.access(place, os.W_OK)):
        yield Finding(
            name="home",
            verdict="warn",
            text=f"$HOME ({place or 'not set'}) can't be written: the store lies in /var/tmp",
            fix="set LAZYBUILD_ROOT to a directory that is kept",
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:  # not there on this kernel, or hidden from a container
        return ""
