"""Debian's docker-registry (distribution 2.8) on a free loopback port, for one test.

with DockerRegistry(tmp_path) as registry:
    registry.host                                   # "127.0.0.1:PORT"
with DockerRegistry(tmp_path, password=True): ...   # user "me", password "secret"
"""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = shutil.which("docker-registry") or "/usr/bin/docker-registry"
USER, PASSWORD = "me", "secret"
_HASH = "$2y$04$BGMc2Yuv5Xd/SBbD11g0leOvI2weEx8d.QJhoAnIAWaNLnHG2zd0S"
_CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}", secret: test}}
{auth}
"""


class DockerRegistry:
    """Runs from the constructor to `close`; what it logs is in `folder/registry.log`."""

    def __init__(self, folder: Path, *, password: bool = False) -> None:
        self.folder = folder
        self.port = _free_port()
        self._log = (folder / "registry.log").open("wb")
        self._process = subprocess.Popen(
            [PROGRAM, "serve", str(self._config(password=password))],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _config(self, *, password: bool) -> Path:
        auth = ""
        if password:
            users = self.folder / "htpasswd"
            users.write_text(f"{USER}:{_HASH}\n")
            auth = f"auth: {{htpasswd: {{realm: test, path: {users}}}}}"
        path = self.folder / "registry.yml"
        path.write_text(_CONFIG.format(root=self.folder / "registry", port=self.port, auth=auth))
        return path

    def _wait(self) -> None:
        end = time.monotonic() + 15
        while time.monotonic() < end and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=2).close()
                return
            except urllib.error.HTTPError as error:
                error.close()
                return  # 401 is an answer
            except OSError:
                time.sleep(0.02)
        log = (self.folder / "registry.log").read_text(errors="replace")
        raise RuntimeError(f"docker-registry did not start:\n{log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
