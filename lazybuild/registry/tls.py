"""TLS contexts per host, from the certs.d folders of Docker, Containers and containerd.

HOST[:PORT]/*.crt are authorities, added to the system's; *.cert with *.key are client pairs.
The system's own come from OpenSSL, which honours SSL_CERT_FILE and SSL_CERT_DIR.
Thread rule: shared by all threads.
"""

import contextlib
import functools
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from lazybuild.errors import UsageError
from lazybuild.registry.hosts import Endpoint
from lazybuild.registry.trust import Origin

_HTTPS: Final = 443


class TlsContexts:
    """Contexts by host; `endpoint` is given if the host is a configured registry."""

    def __init__(self, folders: Sequence[Path] = (), given: Path | None = None) -> None:
        self._folders = folders
        self._given = given
        self._lock = threading.Lock()
        self._known: dict[object, ssl.SSLContext] = {}
        self._shared: dict[object, ssl.SSLContext] = {}

    def context(self, place: Origin, endpoint: Endpoint | None) -> ssl.SSLContext:
        key = (place, endpoint and (endpoint.verify, endpoint.authorities))
        with self._lock:
            if key not in self._known:
                self._known[key] = self._make(_netloc(place), endpoint)
            return self._known[key]

    def _make(self, host: str, endpoint: Endpoint | None) -> ssl.SSLContext:
        """One context is shared by all that need the same files: to load the system's is slow."""
        authorities = self._files(host, "*.crt")
        pairs = self._pairs(host)
        verify = True
        if endpoint:
            authorities = [*map(Path, endpoint.authorities), *authorities]
            pairs = [*endpoint.client_certificates, *pairs]
            verify = endpoint.verify
        need = (verify, tuple(authorities), tuple(pairs))
        if need not in self._shared:
            self._shared[need] = _build(authorities, pairs, verify=verify)
        return self._shared[need]

    def _pairs(self, host: str) -> list[tuple[str, str]]:
        return [(str(c), str(c.with_suffix(".key"))) for c in self._files(host, "*.cert")]

    def _files(self, host: str, pattern: str) -> list[Path]:
        found: list[Path] = []
        for folder in [self._given] if self._given else [f / host for f in self._folders]:
            with contextlib.suppress(OSError):  # a folder of the system that is not ours to read
                found += sorted(folder.glob(pattern))
        return found


def _build(
    authorities: Sequence[Path], pairs: Sequence[tuple[str, str]], *, verify: bool
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for file in authorities:
        _apply(file, context.load_verify_locations)
    for certificate, key in pairs:
        _apply(Path(certificate), functools.partial(context.load_cert_chain, keyfile=key or None))
    return context


def _netloc(place: Origin) -> str:
    """The host as certs.d spells it: without the port if it is the usual one."""
    return place.host if place.port == _HTTPS else f"{place.host}:{place.port}"


def _apply(file: Path, load: Callable[[Path], object]) -> None:
    try:
        load(file)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or "unreadable"
        raise UsageError(f"{file}: this certificate or key can't be used: {reason}") from error
