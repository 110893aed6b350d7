"""Git repositories behind git's own protocol, for tests.

with Repositories(folder) as git: url = git.make("name", {"a": "text"}, when=0)
"""

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

BEGINNING = 1_700_000_000


class Repositories:
    """`git daemon` over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]

    def __enter__(self) -> Self:
        listen = ("--listen=127.0.0.1", f"--port={self.port}", "--reuseaddr")
        self.process = subprocess.Popen(
            ["git", "daemon", "--export-all", *listen, f"--base-path={self.folder}"],
            env=self._environment(BEGINNING),
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return self
            time.sleep(0.02)
        raise AssertionError("git daemon does not listen")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def make(self, name: str, files: dict[str, str], *, when: int = BEGINNING) -> str:
        """A repository with one commit on `main`; its URL."""
        place = self.folder / f"{name}.git"
        place.mkdir()
        self.git(place, "init", "-q", "-b", "main", ".", when=when)
        self.commit(name, files, when=when)
        return f"git://127.0.0.1:{self.port}/{name}.git"

    def commit(self, name: str, files: dict[str, str], *, when: int = BEGINNING) -> str:
        """One commit more; its name."""
        place = self.folder / f"{name}.git"
        for path, text in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text)
        self.git(place, "add", "-A", when=when)
        self.git(place, "commit", "-q", "-m", "x", when=when)
        return self.git(place, "rev-parse", "HEAD")

    def git(self, place: Path, *words: str, when: int = BEGINNING) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=place,
            env=self._environment(when),
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def _environment(self, when: int) -> dict[str, str]:
        names = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
        dates = ("AUTHOR_DATE", "COMMITTER_DATE")
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            # the daemon may serve what another user's process made
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            **{f"GIT_{name}": "n@example.org" for name in names},
            **{f"GIT_{name}": f"{when} +0000" for name in dates},
        }
