"""Other people's programs, started by root for a test: as the unprivileged user, or in a cage.

user = User.builder(); user.owns(folder); user.run(["skopeo", ...])
caged = Caged(user); caged.run(["podman", ...])     # private mounts and processes, cgroup v2 alone
with Containerd(folder) as containerd: containerd.ctr("content", "ls")
"""

import os
import pwd
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from support.building import Builder

# Read at import: the fixture that cleans the environment takes the variable away.
BUILDER = os.environ.get("LAZYBUILD_USER") or "lazybuild-user"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIMEOUT = 60

# As its only argument wants it: a script for `unshare`, which has made the mounts private.
_CAGE = """\
set -e
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec runuser -u "$0" -- "$@"
"""


@dataclass(frozen=True)
class User:
    """An account with ranges of subordinate ids."""

    name: str
    uid: int
    gid: int

    @classmethod
    def builder(cls):
        found = pwd.getpwnam(BUILDER)
        return cls(found.pw_name, found.pw_uid, found.pw_gid)

    def owns(self, folder: Path) -> Path:
        """Make a folder that is theirs."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        return folder

    def run(self, argv, home: Path):
        return succeed(["runuser", "-u", self.name, "--", *argv], home)


@dataclass(frozen=True)
class Caged:
    """A user's programs that nothing survives, not even podman's pause process.

    Mounts and processes are in namespaces of their own. In them cgroup v2 is all there is: crun
    and runc refuse hosts that have both kinds, whatever they are told about cgroups.
    """

    user: User

    def run(self, argv, home: Path):
        unshare = ["unshare", "--mount", "--propagation=private", "--pid", "--fork"]
        cage = [*unshare, "--kill-child", "--mount-proc", "sh", "-c", _CAGE, self.user.name]
        return succeed([*cage, *argv], home)


def succeed(argv, home: Path):
    """The standard output of a command that has to succeed."""
    run = subprocess.run(
        [str(word) for word in argv],
        env={"PATH": SYSTEM_PATH, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "LANG": "C"},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert run.returncode == 0, f"{argv}: exit code {run.returncode}\n{run.stderr}\n{run.stdout}"
    return run.stdout


class UserBuilder(Builder):
    """lazybuild as the user, in a folder that is theirs."""

    def __init__(self, user: User, folder: Path, **environment):
        super().__init__(user.owns(folder), **environment)
        self.user = user

    def start(self, *arguments, **options):
        ids = {"user": self.user.uid, "group": self.user.gid, "extra_groups": []}
        return super().start(*arguments, **ids, **options)

    def context(self, files):
        return self.user.owns(super().context(files))


class Containerd:
    """containerd without what it would need on a whole host, from the constructor to `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = folder / "containerd.sock"
        config = folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
            f'[grpc]\naddress = "{self._socket}"\n[ttrpc]\naddress = "{folder}/ttrpc.sock"\n'
        )
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            ["containerd", "-c", config], stdout=self._log, stderr=self._log
        )
        self._wait()

    def ctr(self, *words):
        return succeed(["ctr-remote", "-a", self._socket, *words], self.folder)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _wait(self) -> None:
        end = time.monotonic() + 15
        while not self._socket.exists():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.02)


def lacks(*programs):
    """Those of the programs that this machine does not have."""
    return [name for name in programs if shutil.which(name, path=SYSTEM_PATH) is None]
