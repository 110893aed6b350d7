"""A buildkitd of its own, with the host's network, in the mounts of a `Moby`, whose client it uses.

There is no package of it in Debian; `scripts/buildkitd` makes one of Debian's sources.

    with Buildkitd(moby) as buildkitd:
        moby.build(context, "--builder", buildkitd.name, "--network", "default", …)
"""

import os
import shutil
import subprocess
import time
from typing import Self

from support.moby import PATH, Moby

PROGRAM = shutil.which("buildkitd")


def missing() -> str:
    """Why there can be no such daemon here, or ""."""
    return "" if PROGRAM else "not run: no buildkitd on PATH"


class Buildkitd:
    def __init__(self, moby: Moby) -> None:
        self.moby = moby
        self.name = f"lazybuild-{os.getpid()}"
        self.socket = moby.shared / "buildkitd.sock"
        self._log = (moby.folder / "buildkitd.log").open("wb")

    def __enter__(self) -> Self:
        shutil.copy(str(PROGRAM), self.moby.shared / "buildkitd")
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        program, state = (self.moby.shared / name for name in ("buildkitd", "buildkitd-root"))
        address = f"unix://{self.moby.there(self.socket)}"
        words = [self.moby.there(program), "--root", self.moby.there(state), "--addr", address]
        words += ["--oci-worker=true", "--oci-worker-net=host", "--containerd-worker=false"]
        inside = ["nsenter", "-t", str(self.moby.process.pid), "-m"]
        self.process = subprocess.Popen(
            [*inside, *words],
            env={"PATH": PATH, "HOME": "/root"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + 30
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError((self.moby.folder / "buildkitd.log").read_text()[-2000:])
            time.sleep(0.1)
        create = ("docker", "buildx", "create", "--name", self.name, "--driver", "remote", address)
        self.moby.run(*create)

    def __exit__(self, *_: object) -> None:
        self.moby.run("docker", "buildx", "rm", self.name, check=False)
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
        shutil.rmtree(self.moby.shared / "buildkitd-root", ignore_errors=True)
