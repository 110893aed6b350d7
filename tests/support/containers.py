"""Places like those that containers give, out of our own pieces: `python containers.py KIND ARGV`.

Real container engines need cgroups that not every test machine lets them have; what they do to a
builder's namespaces, mounts and privileges does not. Each kind changes this process and becomes the
command. The user needs a range of ids.

    masked   root of a user namespace with many ids whose /proc has parts laid over, as Docker's
    alone    a plain user without a range of ids
    no-fuse  the same without a usable /dev/fuse
    docker   the capabilities, the system calls and, for root, the processes that a container of
             Docker's has, no others
"""

import os
import sys
from pathlib import Path

SUPPORT = Path(__file__).parent
sys.path[:0] = [str(SUPPORT.parent), str(SUPPORT.parent.parent)]

from lazybuild.executor import ladder, mapping, seccomp, trial  # noqa: E402
from lazybuild.executor.host import ORDINARY, described  # noqa: E402
from lazybuild.linux import caps, syscalls  # noqa: E402

USER = 1000


def command(kind, *argv):
    """What to run to have `argv` run in such a place."""
    return [sys.executable, "-P", __file__, kind, *map(str, argv)]


def masked():
    _many_ids()
    for name in ("/proc/fs", "/proc/irq"):
        syscalls.attach_filesystem("tmpfs", name, (), syscalls.MOUNT_ATTR_RDONLY)
    mapping.enter("own")  # the mounts below are locked now
    syscalls.make_private()


def alone(*, fuse=True):
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    trial.map_self(uid, gid)
    syscalls.make_private()
    for name in ("/etc/subuid", "/etc/subgid", *([] if fuse else ["/dev/fuse"])):
        if os.path.exists(name):
            syscalls.mount("/dev/null", name, flags=syscalls.MS_BIND)
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    own = f"{USER} 0 1"  # exec takes the capabilities away from one who is not 0
    for name, text in (("setgroups", "deny"), ("uid_map", own), ("gid_map", own)):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _many_ids():
    ladder.enter(ORDINARY if os.geteuid() else described(ids="all"))


def docker():
    """For root its privileges; for another user no more than that there are no namespaces."""
    if os.geteuid():
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.install_seccomp(seccomp.docker_default())
        return
    _own_processes()
    kept = caps.mask(caps.DOCKER_DEFAULT)
    syscalls.drop_bounding(kept)
    syscalls.install_seccomp(seccomp.docker_default())
    syscalls.capset(effective=kept, permitted=kept, inheritable=0)


def _own_processes():
    """Go on in a child that is the first of its pid namespace's, and end as it ends."""
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
    syscalls.make_private()
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(max(0, os.waitstatus_to_exitcode(status)))
    syscalls.die_with_parent()
    syscalls.attach_filesystem("proc", "/proc")


KINDS = {"masked": masked, "alone": alone, "no-fuse": lambda: alone(fuse=False), "docker": docker}

if __name__ == "__main__":
    KINDS[sys.argv[1]]()
    os.execvp(sys.argv[2], sys.argv[2:])
