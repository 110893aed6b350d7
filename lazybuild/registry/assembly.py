"""Puts a Session together from a RegistryConfig. Reads the files that the config points at."""

from collections.abc import Callable
from pathlib import Path

from lazybuild.registry import credentials as creds
from lazybuild.registry import mirrors
from lazybuild.registry.calls import Timeouts
from lazybuild.registry.config import RegistryConfig
from lazybuild.registry.hosts import Hosts
from lazybuild.registry.proxies import choose_proxy
from lazybuild.registry.retry import Clock, Policy
from lazybuild.registry.session import Session
from lazybuild.registry.tls import TlsContexts


def open_session(
    config: RegistryConfig, *, note: Callable[[str], None], warn: Callable[[str], None]
) -> Session:
    from lazybuild.registry.transport import Transport  # noqa: PLC0415 - slow, and not always wanted

    clock = Clock(config.seconds)
    timeouts = Timeouts(connect=config.connect_timeout, stall=config.stall_timeout)
    return Session(
        Transport(clock, timeouts, choose_proxy(config.environ)),
        find_credentials(config, warn),
        TlsContexts(
            config.certificate_folders(), Path(config.cert_dir) if config.cert_dir else None
        ),
        clock=clock,
        policy=policy(config),
        note=note,
        trusted_realms=frozenset(config.trusted_realms),
    )


def find_hosts(config: RegistryConfig) -> Hosts:
    insecure = frozenset(config.insecure) | (frozenset() if config.tls_verify else {"*"})
    return Hosts(mirrors.load_rules(config), insecure)


def policy(config: RegistryConfig) -> Policy:
    return Policy(
        attempts=config.retries + 1,
        connect_attempts=min(config.retries, 2) + 1,
        first_wait=config.retry_wait,
        longest_wait=config.retry_wait * 16,
    )


def find_credentials(config: RegistryConfig, warn: Callable[[str], None]) -> creds.Credentials:
    """All files in the order of the documentation; --authfile and $REGISTRY_AUTH_FILE first."""
    user, password = config.user_and_password()
    explicit = None
    if user:
        explicit = creds.Credential(username=user, password=password, source="--creds")
    environ = config.environ
    files: list[creds.ConfigFile | None] = []
    if config.authfile:
        files.append(creds.load(Path(config.authfile), warn, required=True))
    if named := environ.get("REGISTRY_AUTH_FILE"):
        files.append(creds.load(Path(named), warn))
    if inline := environ.get("DOCKER_AUTH_CONFIG"):
        files.append(creds.parse(inline.encode(), "$DOCKER_AUTH_CONFIG"))
    files += [creds.load(path, warn) for path in config.auth_files()]
    return creds.Credentials(
        [file for file in files if file],
        explicit=explicit,
        environ=environ,
        warn=warn,
        helper_seconds=config.helper_timeout,
    )
