"""The git program, run so that nothing of the host and nothing of a repository steers it. An edge.

No system or user configuration, no hooks, no prompts, no protocol but http, https, ssh and git;
credentials come by environment and never by arguments. Errors show git's last words without them.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lazybuild.errors import BuildError, HostError, RegistryError
from lazybuild.registry.redact import scrub

TIMEOUT = 600
_PROTOCOLS = "https:http:ssh:git"
_SAFE = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.symlinks": "true",
    "core.protectNTFS": "false",
    "init.templateDir": "",
    "init.defaultBranch": "main",
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "transfer.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "protocol.ext.allow": "never",
    "filter.lfs.smudge": "",
    "filter.lfs.required": "false",
    "credential.helper": "",
    "safe.directory": "*",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
}
_KEPT = (
    "PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "http_proxy", "https_proxy",
    "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
)  # fmt: skip
_NETWORK = ("Could not resolve host", "Connection", "timed out", "early EOF", "HTTP 5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """How git is run. `environ` is the caller's; `extra` are secret settings by key.

    `protocols` is wider only for tests and for repositories that the user named by a local path.
    """

    environ: Mapping[str, str]
    extra: Mapping[str, str] = field(default_factory=dict)
    ssh_socket: str = ""
    protocols: str = _PROTOCOLS

    def run(self, directory: Path, *arguments: str, timeout: float = TIMEOUT) -> bytes:
        """Standard output of one git command in `directory`."""
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=directory,
                env=self._environment(directory),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=timeout,
            )
        except FileNotFoundError as error:
            raise HostError("git is not installed", hint="install the git package") from error
        except subprocess.TimeoutExpired as error:
            raise RegistryError(f"git {arguments[0]}: no end within {timeout:.0f} s") from error
        if done.returncode:
            raise _explained(arguments, done.stderr)
        return done.stdout

    def _environment(self, home: Path) -> dict[str, str]:
        kept = {name: self.environ[name] for name in _KEPT if name in self.environ}
        fixed = {
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_ALLOW_PROTOCOL": self.protocols,
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_SSH_COMMAND": "ssh -F /dev/null -o BatchMode=yes "
            "-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=known_hosts",
        }
        agent = {"SSH_AUTH_SOCK": self.ssh_socket} if self.ssh_socket else {}
        return {**kept, **fixed, **agent, **_settings({**_SAFE, **self.extra})}


def _settings(values: Mapping[str, str]) -> dict[str, str]:
    """Configuration by environment, which wins over what a repository says."""
    found = {"GIT_CONFIG_COUNT": str(len(values))}
    for number, (key, value) in enumerate(values.items()):
        found[f"GIT_CONFIG_KEY_{number}"] = key
        found[f"GIT_CONFIG_VALUE_{number}"] = value
    return found


def _explained(arguments: Sequence[str], stderr: bytes) -> BuildError | RegistryError:
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    words = scrub("; ".join(lines[-3:]))
    kind = RegistryError if any(sign in words for sign in _NETWORK) else BuildError
    return kind(f"git {arguments[0]} failed: {words}")
