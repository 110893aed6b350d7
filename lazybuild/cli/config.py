"""Where the command line finds its settings: flags, then the environment, then defaults."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lazybuild.cli import durations, verbs
from lazybuild.errors import UsageError
from lazybuild.oci import platform
from lazybuild.registry.config import RegistryConfig

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
CONTEXT = verbs.CONTEXT


def store_root(given: str) -> Path:
    """--root, $LAZYBUILD_ROOT, $XDG_DATA_HOME/lazybuild, ~/.local/share/lazybuild.

    Without a home that belongs to the user it is /var/tmp/lazybuild-UID.
    """
    if given:
        return Path(given).absolute()
    if os.environ.get("LAZYBUILD_ROOT"):
        return Path(os.environ["LAZYBUILD_ROOT"]).absolute()
    if os.environ.get("XDG_DATA_HOME"):
        return Path(os.environ["XDG_DATA_HOME"]) / "lazybuild"
    home = os.environ.get("HOME", "")
    if home and os.access(home, os.W_OK):
        return Path(home) / ".local" / "share" / "lazybuild"
    return Path(f"/var/tmp/lazybuild-{os.getuid()}")  # noqa: S108 - made 0700, owner checked


def root_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--root", default="", metavar="DIR", help="Where the store is (or $LAZYBUILD_ROOT)."
    )(function)


def platform_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `wanted`, an oci.platform.Platform or None."""
    return click.option(
        "--platform",
        "wanted",
        default="",
        metavar="OS/ARCH",
        callback=lambda _context, _option, text: platform.parse(text) if text else None,
        help="Not the host's.",
    )(function)


def registry_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of every verb that talks to a registry."""
    decorators: list[Decorator] = [
        click.option(
            "--insecure-registry",
            multiple=True,
            metavar="HOST[:PORT]",
            help="Plain HTTP and unknown certificates are fine there.",
        ),
        click.option("--authfile", default="", metavar="FILE", help="Registry credentials."),
        click.option(
            "--creds",
            default="",
            metavar="USER[:PASSWORD]",
            help="Credentials for every registry of this command.",
        ),
        click.option(
            "--cert-dir",
            default="",
            metavar="DIR",
            help="Certificates (*.crt, *.cert, *.key) for registries.",
        ),
        click.option(
            "--tls-verify/--no-tls-verify",
            default=True,
            help="Check the certificates of registries.",
        ),
        click.option("--retry", type=int, default=None, metavar="N", help="Tries after the first."),
        click.option(
            "--retry-delay", default="", metavar="DURATION", help="Wait before the first of these."
        ),
        click.option(
            "--registry-timeout",
            default="",
            metavar="DURATION",
            help="How long a registry or a credential helper may be silent.",
        ),
        click.option(
            "--registry-patience",
            default="",
            metavar="DURATION",
            help="How long a read of a lazy layer waits for a registry that went away.",
        ),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def registries(values: dict[str, Any]) -> RegistryConfig:
    """Take the registry flags out of a command's values."""
    retries = values.pop("retry")
    delay = _duration(values, "retry_delay")
    silence, patience = (
        _duration(values, "registry_timeout"),
        _duration(values, "registry_patience"),
    )
    defaults = RegistryConfig()
    return RegistryConfig(
        retries=defaults.retries if retries is None else max(retries, 0),
        retry_wait=defaults.retry_wait if delay is None else delay,
        connect_timeout=min(silence or defaults.connect_timeout, defaults.connect_timeout),
        stall_timeout=silence or defaults.stall_timeout,
        helper_timeout=silence or defaults.helper_timeout,
        patience=defaults.patience if patience is None else patience,
        environ=dict(os.environ),
        insecure=tuple(values.pop("insecure_registry")),
        authfile=values.pop("authfile"),
        creds=values.pop("creds"),
        cert_dir=values.pop("cert_dir"),
        tls_verify=values.pop("tls_verify"),
    )


def _duration(values: dict[str, Any], name: str) -> float | None:
    """The seconds that a flag says, None when it was not given."""
    text = values.pop(name)
    return durations.seconds(text, f"--{name.replace('_', '-')}") if text else None


def assignments(texts: tuple[str, ...], flag: str, *, from_environment: bool) -> dict[str, str]:
    """NAME=VALUE items; a bare NAME takes the environment's value, and is dropped when unset."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"{flag} {text!r}: expected NAME=VALUE")
        if equals:
            found[name] = value
        elif from_environment:
            if name in os.environ:
                found[name] = os.environ[name]
        else:
            found[name] = ""
    return found


def read_assignments(names: tuple[str, ...], flag: str) -> dict[str, str]:
    """NAME=VALUE lines of files; blank lines and lines that begin with # are left out."""
    found: dict[str, str] = {}
    for name in names:
        try:
            lines = Path(name).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{flag} {name}: {error}") from error
        wanted = tuple(line for line in lines if line.strip() and not line.startswith("#"))
        found |= assignments(wanted, f"{flag} {name}", from_environment=True)
    return found


def size(text: str, flag: str) -> int:
    """Bytes of `64m`, `1g`, `512k`, `100`; units are powers of 1024."""
    units = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    lowered = text.strip().lower().removesuffix("ib").removesuffix("b") or text
    factor = units.get(lowered[-1:], 0)
    number = lowered[:-1] if factor else lowered
    try:
        return int(float(number) * (factor or 1))
    except ValueError as error:
        raise UsageError(f"{flag} {text!r}: not a size such as 64m") from error
