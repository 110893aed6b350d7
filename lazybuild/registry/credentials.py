"""Credentials from Docker's and Containers' files and helpers. Reads files, starts helpers.

Per file: credHelpers[host], then credsStore, then auths; files in the order they are given.
A credential is found by exact host, or by host and a path prefix on a "/" boundary; it never
leaves this module other than for the registry that was asked for, and is never shown.
Thread rule: shared by all threads; one look-up of the same registry runs at a time.
"""

import base64
import binascii
import json
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from lazybuild.errors import RegistryError, UsageError
from lazybuild.registry.redact import printable, scrub

DOCKER_HUB: Final = "docker.io"
_HUB_URL: Final = "https://index.docker.io/v1/"
_HUB_NAMES: Final = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_HELPER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
HELPER_SECONDS: Final = 30.0
_FILE_LIMIT: Final = 1 << 20
_TOKEN_USER: Final = "<token>"  # noqa: S105  # the helper protocol's word for an identity token


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What to prove oneself with; `source` says where it came from."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    source: str = ""

    def basic(self) -> str:
        pair = f"{self.username}:{self.password}"
        return base64.b64encode(pair.encode()).decode()


class CredentialSource(Protocol):
    """Anything that knows credentials: `repository` is without the host."""

    def find(self, registry: str, repository: str) -> Credential | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """One parsed file. Keys of `auths` are as written."""

    name: str
    auths: Mapping[str, Mapping[str, object]]
    helpers: Mapping[str, str]
    store: str = ""


class Credentials:
    """`--creds` for every registry if given, else the files in order."""

    def __init__(
        self,
        files: Sequence[ConfigFile],
        *,
        explicit: Credential | None = None,
        environ: Mapping[str, str],
        warn: Callable[[str], None],
        helper_seconds: float = HELPER_SECONDS,
    ) -> None:
        self._files = files
        self._helper_seconds = helper_seconds
        self._explicit = explicit
        self._environ = environ
        self._warn = warn
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Credential | None] = {}

    def find(self, registry: str, repository: str) -> Credential | None:
        if self._explicit:
            return self._explicit
        with self._lock:
            key = (registry, repository)
            if key not in self._known:
                self._known[key] = self._look_up(registry, repository)
            return self._known[key]

    def _look_up(self, registry: str, repository: str) -> Credential | None:
        for file in self._files:
            for found in (
                self._from_helper(file, registry),
                self._from_store(file, registry),
                _from_auths(file, registry, repository),
            ):
                if found:
                    return found
        return None

    def _from_helper(self, file: ConfigFile, registry: str) -> Credential | None:
        for key, helper in file.helpers.items():
            if _normal(key) == registry:
                return self._ask(helper, registry)
        return None

    def _from_store(self, file: ConfigFile, registry: str) -> Credential | None:
        if not file.store:
            return None
        try:
            return self._ask(file.store, registry)
        except RegistryError as error:
            # The store is for all registries; a public one must not fail for its sake.
            self._warn(f"{error.message} (credsStore in {file.name}); going on without it")
            return None

    def _ask(self, helper: str, registry: str) -> Credential | None:
        server = _server(registry)
        return ask_helper(helper, server, environ=self._environ, seconds=self._helper_seconds)


def load(path: Path, warn: Callable[[str], None], *, required: bool = False) -> ConfigFile | None:
    """The file, or None if there is none; UsageError if it makes no sense."""
    try:
        with path.open("rb") as file:
            _judge(path, os.fstat(file.fileno()), warn)
            data = file.read(_FILE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        if required:
            raise UsageError(f"{path}: no such authentication file") from None
        return None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if len(data) > _FILE_LIMIT:
        raise UsageError(f"{path}: larger than 1 MiB, not an authentication file")
    return parse(data, str(path))


def parse(data: bytes, name: str) -> ConfigFile:
    """A config.json or auth.json from bytes (a file, or $DOCKER_AUTH_CONFIG)."""
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        raise UsageError(f"{name}: not JSON") from None  # its text may be a secret
    if not isinstance(value, dict):
        raise UsageError(f"{name}: not a JSON object")
    auths, helpers = value.get("auths") or {}, value.get("credHelpers") or {}
    store = value.get("credsStore") or ""
    if not (isinstance(auths, dict) and isinstance(helpers, dict) and isinstance(store, str)):
        raise UsageError(f"{name}: auths, credHelpers or credsStore have a wrong type")
    return ConfigFile(
        name=name,
        auths={str(k): v for k, v in auths.items() if isinstance(v, dict)},
        helpers={str(k): str(v) for k, v in helpers.items()},
        store=store,
    )


def ask_helper(
    name: str, server: str, *, environ: Mapping[str, str], seconds: float = HELPER_SECONDS
) -> Credential | None:
    """Run `docker-credential-NAME get`; None if it knows nothing of the server."""
    status, output, complaint = run_helper(name, "get", server, environ=environ, seconds=seconds)
    program = f"docker-credential-{name}"
    if status != 0:
        if "credentials not found" in output or "no credentials" in output.lower():
            return None
        raise RegistryError(f"{program} failed for {server}: {scrub(complaint or output)}")
    try:
        value = json.loads(output)
        username, secret = value["Username"], value["Secret"]
    except (ValueError, TypeError, KeyError):
        raise RegistryError(
            f"{program} answered for {server} with something else than JSON of Username and Secret"
            f"{': ' if complaint else ''}{scrub(complaint)}"
        ) from None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise RegistryError(f"{program}: Username and Secret for {server} are not strings")
    if username == _TOKEN_USER:
        return Credential(identity_token=secret, source=program)
    return Credential(username=username, password=secret, source=program) if secret else None


def run_helper(
    name: str,
    verb: str,
    text: str,
    *,
    environ: Mapping[str, str],
    seconds: float = HELPER_SECONDS,
) -> tuple[int, str, str]:
    """Status, standard output and the first line of the complaints of a helper."""
    import subprocess  # noqa: PLC0415  # most builds start no helper

    program = find_helper(name, environ)
    try:
        done = subprocess.run(
            [program, verb],
            input=text.encode(),
            capture_output=True,
            env=dict(environ),
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RegistryError(
            f"docker-credential-{name} gave no answer within {seconds:g} s"
        ) from None
    except OSError as error:
        raise RegistryError(f"{program} can't be started: {error.strerror}") from error
    complaint = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    return done.returncode, done.stdout.decode(errors="replace").strip(), complaint


def find_helper(name: str, environ: Mapping[str, str]) -> str:
    """The absolute path of a helper: only from absolute PATH entries, only by a plain name."""
    if not _HELPER.fullmatch(name):
        raise UsageError(f"{printable(name)!r} is not the name of a credential helper")
    search = [d for d in environ.get("PATH", "").split(os.pathsep) if d.startswith("/")]
    found = shutil.which(f"docker-credential-{name}", path=os.pathsep.join(search))
    if not found or not search:
        raise RegistryError(
            f"docker-credential-{name} is not installed or not on PATH",
            hint=f"install it, or remove {name!r} from credHelpers and credsStore",
        )
    return found


def _from_auths(file: ConfigFile, registry: str, repository: str) -> Credential | None:
    keys = {_normal(key): entry for key, entry in file.auths.items()}
    for prefix in _prefixes(registry, repository):
        if entry := keys.get(prefix):
            return _decode(entry, f"{file.name} ({prefix})")
    return None


def _prefixes(registry: str, repository: str) -> Iterator[str]:
    """The longest first: `host/a/b`, `host/a`, `host`."""
    parts = [part for part in repository.split("/") if part]
    for count in range(len(parts), -1, -1):
        yield "/".join([registry, *parts[:count]])


def _decode(entry: Mapping[str, object], source: str) -> Credential | None:
    texts = {key: value for key, value in entry.items() if isinstance(value, str)}
    username, password = texts.get("username", ""), texts.get("password", "")
    if texts.get("auth"):
        try:
            pair = base64.b64decode(texts["auth"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise UsageError(f"{source}: auth is not base64 of user:password") from None
        username, _, password = pair.rstrip("\0").partition(":")
    found = Credential(
        username=username,
        password=password,
        identity_token=texts.get("identitytoken", ""),
        registry_token=texts.get("registrytoken", ""),
        source=source,
    )
    known = found.password or found.identity_token or found.registry_token
    return found if known else None


def _normal(key: str) -> str:
    """A key without scheme, v1 path and trailing slash; Docker Hub under one name."""
    name = key.partition("://")[2] or key
    name = name.rstrip("/")
    for version in ("/v1", "/v2"):
        name = name.removesuffix(version)
    host, slash, path = name.partition("/")
    return (DOCKER_HUB if host in _HUB_NAMES else host.lower()) + slash + path


def _server(registry: str) -> str:
    return _HUB_URL if registry == DOCKER_HUB else registry


def _judge(path: Path, status: os.stat_result, warn: Callable[[str], None]) -> None:
    """Say when others can read, or have made, what should be the user's own."""
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
        warn(f"{path} holds credentials and can be read by everybody; chmod 600 it")
    if status.st_uid not in (0, os.getuid()):
        warn(f"{path} belongs to another user (uid {status.st_uid})")
