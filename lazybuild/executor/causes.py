"""Why a host refuses what rootless builds need: from a failed call to a sentence and a remedy.

Reads a few files below /proc; decides nothing. The facts are the kernel's and the distributions':
user_namespaces(7), Ubuntu's AppArmor restriction (23.10), Debian's and Red Hat's sysctls.
"""

import errno
from pathlib import Path

from lazybuild.errors import HostError

PROC = Path("/proc")
APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
DEBIAN = "kernel.unprivileged_userns_clone"
MAXIMUM = "user.max_user_namespaces"
CONTAINER_FLAGS = (
    "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    " --security-opt systempaths=unconfined (contrib/seccomp-lazybuild.json is a narrower filter);"
    " in Kubernetes hostUsers: false with the capability SYS_ADMIN (docs/rootless.md)"
)
THREE_WAYS = (
    f"three ways out: give the container more room ({CONTAINER_FLAGS});"
    " or run lazybuild as root of the container with Docker's default capabilities, which is slower"
    " (T6); or have another machine do it with --builder"
)
APPARMOR_HINT = (
    f"sudo sysctl -w {APPARMOR}=0, or give this Python an AppArmor profile with `userns,`"
    " (contrib/apparmor-lazybuild)"
)
APPARMOR_FLAGS = (
    "docker run --security-opt apparmor=unconfined; in Kubernetes"
    " appArmorProfile: {type: Unconfined}"
)


def sysctl(name: str, proc: Path = PROC) -> str:
    try:
        return (proc / "sys" / name.replace(".", "/")).read_text().strip()
    except OSError:  # not there on this kernel, or hidden: then it is not the cause we can name
        return ""


def is_filtered(proc: Path = PROC) -> bool:
    """Whether a seccomp filter lies on this process, as in a container."""
    try:
        return "\nSeccomp:\t2" in (proc / "self/status").read_text()
    except OSError:
        return False


def apparmor_profile(proc: Path = PROC) -> str:
    """The profile that lies on this process, "" if none or one that confines nothing."""
    try:
        name, _, mode = (proc / "self/attr/current").read_text().strip("\0\n ").partition(" ")
    except OSError:  # no AppArmor
        return ""
    return name if mode == "(enforce)" else ""


def userns_error(what: str, number: int, proc: Path = PROC) -> HostError:
    """The HostError for `what` (a call of the trial) that failed with errno `number`."""
    for applies, message, hint in _userns_causes(number, proc):
        if applies:
            return HostError(
                f"{message} ({what}: {errno.errorcode.get(number, number)})", hint=hint
            )
    return HostError(
        f"this host does not let {what} ({errno.errorcode.get(number, number)})",
        hint="run as root with CAP_SYS_ADMIN, or allow unprivileged user namespaces",
    )


def _userns_causes(number: int, proc: Path) -> list[tuple[bool, str, str]]:
    refused = number in (errno.EPERM, errno.EACCES)
    return [
        (
            sysctl(MAXIMUM, proc) == "0" and number in (errno.ENOSPC, errno.EPERM),
            f"user namespaces are turned off: {MAXIMUM} is 0",
            f"sudo sysctl -w {MAXIMUM}=28633",
        ),
        (
            number in (errno.ENOSPC, errno.EUSERS),
            f"too many user namespaces: {MAXIMUM} is {sysctl(MAXIMUM, proc) or 'reached'}",
            f"raise {MAXIMUM}, or end what holds them",
        ),
        (
            refused and sysctl(DEBIAN, proc) == "0",
            f"unprivileged user namespaces are turned off: {DEBIAN} is 0",
            f"sudo sysctl -w {DEBIAN}=1",
        ),
        (
            refused and is_filtered(proc),
            "the container around this process refuses namespaces by its seccomp filter",
            THREE_WAYS,
        ),
        (
            refused and sysctl(APPARMOR, proc) == "1",
            f"AppArmor restricts unprivileged user namespaces: {APPARMOR} is 1",
            APPARMOR_HINT,
        ),
        (
            refused and bool(apparmor_profile(proc)),
            f"AppArmor's profile {apparmor_profile(proc)} refuses what rootless builds need",
            APPARMOR_FLAGS,
        ),
        (
            number in (errno.EINVAL, errno.ENOSYS),
            "this kernel has no user namespaces (CONFIG_USER_NS)",
            "use a kernel with user namespaces, 5.13 or newer, or run as root",
        ),
    ]
