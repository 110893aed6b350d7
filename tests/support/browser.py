"""A headless Chromium, driven through its debugging protocol over two pipes.

with Browser(folder) as browser:
    page = browser.open(path)             # what it asked for, and what it complained of
    browser.evaluate("document.title")

Spec: the Chrome DevTools Protocol; messages of `--remote-debugging-pipe` end with a zero byte.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

PROGRAM = shutil.which("chromium")
SECONDS = 60


@dataclass
class Seen:
    """What a page did: the addresses it asked for, and every message on its console."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def high(fd: int) -> int:
    """The same pipe where it is not in the way of 3 and 4."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return moved


class Browser:
    """One browser with one page. Needs a folder for its profile."""

    def __init__(self, folder: Path) -> None:
        near, self._to = os.pipe()
        to_it = high(near)
        self._from, near = os.pipe()
        from_it = high(near)
        command = [
            PROGRAM, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
            "--disable-dev-shm-usage", f"--user-data-dir={folder}", "--no-first-run",
        ]  # fmt: skip
        self._process = subprocess.Popen(  # the protocol's descriptors are 3 and 4
            ["bash", "-c", f'exec "$@" 3<&{to_it} 4>&{from_it}', "bash", *command],
            pass_fds=(to_it, from_it),
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_it)
        os.close(from_it)
        self._rest = b""
        self._number = 0
        self._seen = Seen()
        self._loaded = False
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._call(f"{domain}.enable")

    _session = ""

    def open(self, path: Path) -> Seen:
        """Load a file and wait until all that it wants has been loaded."""
        self._seen, self._loaded = Seen(), False
        self._call("Page.navigate", url=path.as_uri())
        while not self._loaded:
            self._take(self._read())
        return self._seen

    def evaluate(self, expression: str) -> object:
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def prefer(self, scheme: str) -> None:
        """ "dark" or "light"."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", features=[feature])

    def resize(self, width: int) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        shot = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def close(self) -> None:
        os.close(self._to)  # it ends with its pipe
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # messages

    def _call(self, method: str, **parameters: object) -> dict:
        self._number += 1
        message: dict = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._take(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self) -> dict:
        while b"\0" not in self._rest:
            block = os.read(self._from, 1 << 16)
            assert block, "the browser is gone"
            self._rest += block
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _take(self, event: dict) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self._seen.requests.append(parameters["request"]["url"])
            case "Log.entryAdded":
                self._seen.complaints.append(parameters["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self._seen.complaints.append(json.dumps(parameters))
            case "Page.loadEventFired":
                self._loaded = True
