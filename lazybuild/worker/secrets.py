"""Secrets and agents that steps ask for by id. Never in a layer, key or log."""

import os
from collections.abc import Callable
from pathlib import Path

from lazybuild.errors import BuildError
from lazybuild.llb.ops import ExecOp
from lazybuild.request import BuildRequest, Secret
from lazybuild.worker.services import Services

MAX_SECRET = 500 << 10  # as BuildKit bounds them


def environment(services: Services, op: ExecOp) -> dict[str, str]:
    """The variables that `--mount=type=secret,env=` asks for."""
    found = {}
    for wanted in op.secret_env:
        value = read(services, wanted.id, optional=wanted.optional)
        if value is not None:
            found[wanted.name] = value.decode("utf-8", "surrogateescape")
    return found


def read(services: Services, name: str, *, optional: bool) -> bytes | None:
    """The bytes of a secret; None for one that was not given and is not required."""
    secret = services.secrets.get(name)
    if secret is None:
        if optional:
            return None
        raise BuildError(f"secret {name}: not found", hint=f"give --secret id={name},src=FILE")
    return given(secret)


def given(secret: Secret) -> bytes:
    """The bytes of a secret that has to be there."""
    value = _value(secret)
    if value is None:
        raise BuildError(f"secret {secret.id}: the variable {secret.env} is not set")
    return value


def of_request(request: BuildRequest) -> Callable[[str], bytes | None]:
    """The secrets of a request by id, None for one that was not given: for what asks by itself."""
    known = {secret.id: secret for secret in request.secrets}
    return lambda name: _value(known[name]) if name in known else None


def _value(secret: Secret) -> bytes | None:
    """None for a variable that is not set."""
    value = os.environb.get(os.fsencode(secret.env)) if secret.env else _file(secret.file)
    if value is not None and len(value) > MAX_SECRET:
        raise BuildError(f"secret {secret.id}: more than {MAX_SECRET >> 10} KiB")
    return value


def _file(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            return file.read(MAX_SECRET + 1)
    except OSError as error:
        raise BuildError(f"secret file {name}: {error.strerror}") from error
