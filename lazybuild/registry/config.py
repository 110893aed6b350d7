"""How registries are reached, as one value of plain types that can be sent to another process.

Nothing here reads the environment: the command line hands in what it found.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from lazybuild.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """Options of the command line, and the environment for what they leave open.

    `retries` come after the first attempt. `patience`: seconds for which a read of a lazy layer
    waits for a registry that went away. `seconds`: the end of everything, counted from the start.
    """

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    creds: str = field(default="", repr=False)
    authfile: str = ""
    cert_dir: str = ""
    registries_conf: str = ""
    insecure: tuple[str, ...] = ()
    tls_verify: bool = True
    trusted_realms: tuple[str, ...] = ()
    retries: int = 5
    retry_wait: float = 1.0
    connect_timeout: float = 10.0
    stall_timeout: float = 15.0
    helper_timeout: float = 30.0
    patience: float = 120.0
    seconds: float | None = None
    upload_chunk: int = 0  # bytes; 0 is one request for the whole blob
    spool: str = ""  # folder for large temporary files; "" is the system's

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        for name in ("insecure", "trusted_realms"):
            values[name] = tuple(values[name])
        return cls(**values)

    @property
    def home(self) -> Path:
        return Path(self.environ.get("HOME") or "/")

    def xdg(self, name: str, fallback: str) -> Path:
        """A folder of the XDG base directory specification, or `fallback` below the home."""
        value = self.environ.get(name, "")
        return Path(value) if value.startswith("/") else self.home / fallback

    def auth_files(self) -> list[Path]:
        """Where credentials are looked for, in order, after --authfile and $DOCKER_AUTH_CONFIG."""
        found = []
        runtime = self.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        found.append(Path(runtime) / "containers/auth.json")
        found.append(self.xdg("XDG_CONFIG_HOME", ".config") / "containers/auth.json")
        if folder := self.environ.get("DOCKER_CONFIG"):
            found.append(Path(folder) / "config.json")
        found.append(self.home / ".docker/config.json")
        return found

    def certificate_folders(self) -> list[Path]:
        config = self.xdg("XDG_CONFIG_HOME", ".config")
        return [
            config / "containers/certs.d",
            config / "docker/certs.d",
            self.home / ".docker/certs.d",
            Path("/etc/docker/certs.d"),
            Path("/etc/containers/certs.d"),
        ]

    def user_and_password(self) -> tuple[str, str]:
        """The two parts of --creds, or two empty strings."""
        user, colon, password = self.creds.partition(":")
        if self.creds and not (user and colon):
            raise UsageError("--creds takes USER:PASSWORD")
        return user, password
