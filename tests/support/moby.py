"""A dockerd of another distribution in a folder of its own, for one test session. Needs root.

The folder is made by mmdebstrap (Debian trixie with docker.io and docker-buildx); LAZYBUILD_TRIXIE
names it. The daemon has private mounts, no bridge and no iptables, and the containerd image store:

    with Moby(folder) as moby:
        moby.socket                                  # of the daemon, on this side
        moby.build(context, "-t", name)              # the client there; both see `shared`
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

DEFAULT = "/var/lib/lazybuild/trixie"  # where scripts/test makes it
ROOT = Path(os.environ.get("LAZYBUILD_TRIXIE", DEFAULT))  # read before it is scrubbed
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START = """\
set -e
mount --make-rprivate /
mount --rbind "$R" "$R"
mount -t proc proc "$R/proc"
mount --rbind /sys "$R/sys"
mount --rbind /dev "$R/dev"
mount -t tmpfs tmpfs "$R/run"
for name in docker containerd; do
    mkdir -p "$W/$name" "$R/var/lib/$name"
    mount --bind "$W/$name" "$R/var/lib/$name"
done
mkdir -p "$W/shared"
mount -t tmpfs tmpfs "$R/mnt"
mkdir -p "$R/mnt/shared"
mount --bind "$W/shared" "$R/mnt/shared"
for path in $SHOWN; do
    mkdir -p "$R/mnt/host$path"
    mount --bind -o ro "$path" "$R/mnt/host$path"
done
mkdir "$R/mnt/around"
cd "$R"
pivot_root . mnt/around  # who is in a mere chroot can have no user namespace
umount -l /mnt/around
cd /
exec dockerd --iptables=false --bridge=none --config-file /mnt/shared/daemon.json \\
    -H unix:///mnt/shared/docker.sock -p /run/docker.pid --exec-root /run/docker
"""
SHOWN = ("/usr", sys.prefix, str(Path(__file__).parents[2]))  # to containers that run lazybuild
CONFIG = '{"features": {"containerd-snapshotter": true}}'


def missing() -> str:
    """Why there can be no daemon here, or ""."""
    if os.getuid():
        return "not run: a dockerd needs root"
    if not (ROOT / "usr/sbin/dockerd").exists():
        return f"not run: no dockerd in {ROOT} (LAZYBUILD_TRIXIE)"
    return ""


class Moby:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = folder / "shared"
        self.shared.mkdir(parents=True)
        (self.shared / "daemon.json").write_text(CONFIG)
        self.socket = self.shared / "docker.sock"
        self._log = (folder / "dockerd.log").open("wb")

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", START],
            env={
                "PATH": PATH,
                "R": str(ROOT),
                "W": str(self.folder),
                "SHOWN": " ".join(SHOWN),
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + 30
        while self.run("docker", "version", check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError((self.folder / "dockerd.log").read_text()[-2000:])
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
        for name in ("docker", "containerd"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def run(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """A command over there."""
        inside = ["nsenter", "-t", str(self.process.pid), "-m"]
        done = subprocess.run(
            [*inside, *words],
            env={"PATH": PATH, "HOME": "/root", "DOCKER_HOST": "unix:///mnt/shared/docker.sock"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert not (check and done.returncode), done.stderr[-4000:]
        return done

    def contain(
        self, image: str, *words: str, flags: tuple[str, ...] = (), check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """`docker run` with this Python and these sources in the container, and our network."""
        volumes = [f"--volume=/mnt/host{path}:{path}:ro" for path in SHOWN]
        fixed = ("--rm", "--network=host", "--volume=/mnt/shared:/shared", *volumes)
        environment = (f"--env=PYTHONPATH={SHOWN[-1]}", "--env=PYTHONDONTWRITEBYTECODE=1")
        run = ("docker", "run", *fixed, *environment, *flags, image)
        return self.run(*run, sys.executable, *words, check=check)

    def there(self, path: Path) -> str:
        """The name over there of something in `shared`."""
        return str(Path("/mnt/shared") / path.relative_to(self.shared))

    def build(
        self, context: Path, *flags: str, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """`docker buildx build` of a context below `shared`; steps have no network there."""
        fixed = ("--progress", "plain", "--provenance=false", "--network", "none")
        words = ("docker", "buildx", "build", *fixed, *flags, self.there(context))
        return self.run(*words, check=check)
