"""Log in and out: try the credentials, then keep them where Docker's and our own look-up find them.

Writes one JSON file, mode 0600, by rename, and leaves everything in it that is not ours as it was.
"""

import base64
import json
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Final

from lazybuild.errors import RegistryError, UsageError
from lazybuild.registry import credentials as creds
from lazybuild.registry.client import Registry
from lazybuild.registry.config import RegistryConfig
from lazybuild.registry.redact import scrub
from lazybuild.registry.session import Request

_FIRST_ERROR: Final = 400
_HUB_KEY: Final = "https://index.docker.io/v1/"


def try_login(registry: Registry, host: str) -> None:
    """Ask the registry's base whether it takes the registry's credentials; RegistryError if not."""
    endpoint = registry.hosts.push(f"{host}/login")
    request = Request(method="GET", endpoint=endpoint, actions="", subject=endpoint.host)
    attempts = registry.session.attempts(request)
    reply = registry.session.send(request, attempts)
    if reply.answer.status >= _FIRST_ERROR:
        registry.session.refuse(request, reply, attempts)
    reply.answer.close()


def login(config: RegistryConfig, host: str, user: str, password: str) -> str:
    """Try, then keep. Returns where the credentials are kept now."""
    with Registry(replace(config, creds=f"{user}:{password}")) as registry:
        try_login(registry, host)
    path = auth_file(config)
    value = _read(path)
    key = _HUB_KEY if host == creds.DOCKER_HUB else host
    if helper := _helper(value, host):
        text = json.dumps({"ServerURL": key, "Username": user, "Secret": password})
        _run(helper, "store", text, config)
        return f"docker-credential-{helper}"
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    _table(value, "auths", path)[key] = {"auth": auth}
    _write(path, value)
    return str(path)


def logout(config: RegistryConfig, host: str) -> bool:
    """Forget the credentials of a registry; False if there were none."""
    path = auth_file(config)
    value = _read(path)
    key = _HUB_KEY if host == creds.DOCKER_HUB else host
    if helper := _helper(value, host):
        _run(helper, "erase", key, config)
        return True
    auths = _table(value, "auths", path)
    found = auths.pop(key, None) or auths.pop(host, None)
    if found is None:
        return False
    _write(path, value)
    return True


def auth_file(config: RegistryConfig) -> Path:
    """The file that is written: the one named, else Docker's."""
    environ = config.environ
    if named := config.authfile or environ.get("REGISTRY_AUTH_FILE"):
        return Path(named)
    folder = environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else config.home / ".docker") / "config.json"


def _helper(value: dict[str, object], host: str) -> str:
    helpers = value.get("credHelpers")
    own = helpers.get(host) if isinstance(helpers, dict) else None
    found = own or value.get("credsStore") or ""
    return found if isinstance(found, str) else ""


def _run(helper: str, verb: str, text: str, config: RegistryConfig) -> None:
    status, output, complaint = creds.run_helper(
        helper, verb, text, environ=config.environ, seconds=config.helper_timeout
    )
    if status:
        raise RegistryError(
            f"docker-credential-{helper} {verb} failed: {scrub(complaint or output)}"
        )


def _table(value: dict[str, object], key: str, path: Path) -> dict[str, object]:
    table = value.setdefault(key, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {key} is not an object")
    return table


def _read(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_bytes() or b"{}")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: not JSON; it is left as it is") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: not a JSON object")
    return value


def _write(path: Path, value: dict[str, object]) -> None:
    """Beside the file, then over it. A symlink stays one: what it points at is replaced."""
    target = Path(os.path.realpath(path))
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(value, file, indent="\t")
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise UsageError(f"{path}: {error.strerror}") from error
