"""Authorization headers: basic, and tokens from a registry's token service.

Knows challenges and credentials; sends through the callable it is given. A token service sees a
credential only if `trust` says so; anonymous tokens may come from any https service.
Thread rule: shared by all threads; of many that need the same token, one fetches it.
Spec: distribution's "Token Authentication" and "Oauth2 Token Authentication".
"""

import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from lazybuild.errors import RegistryError
from lazybuild.registry import trust
from lazybuild.registry.credentials import Credential, CredentialSource
from lazybuild.registry.redact import shown

_PARAMETER: Final = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))\s*,?')
_SCHEME: Final = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9-]*)(?:\s+|,|$)")
_CHALLENGE_LIMIT: Final = 8192
_TOKEN: Final = re.compile(r"[!-~]{1,65536}")
_DEFAULT_LIFE: Final = 60.0
_CLIENT: Final = "lazybuild"
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """For whom a header is made: `registry` is the key of its credentials, `url` its base URL."""

    registry: str
    url: str
    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    scheme: str  # lower case
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReply:
    """Status and body of a token service's answer."""

    status: int
    body: bytes


class TokenDoor(Protocol):
    """Sends a request to a token service, with retries, and reads its whole small answer."""

    def __call__(self, url: str, *, authorization: str, form: str) -> TokenReply: ...


@dataclass(slots=True)
class _Ticket:
    header: str
    end: float


@dataclass(slots=True)
class _Station:
    """What is known of one registry: its challenge, the tickets by scopes, one lock for both."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    challenge: Challenge | None = None
    tickets: dict[tuple[str, ...], _Ticket] = field(default_factory=dict)
    refresh: dict[str, str] = field(default_factory=dict)


class Authorizer:
    """Gives the header for a request, and a better one after a 401."""

    def __init__(
        self,
        credentials: CredentialSource,
        door: TokenDoor,
        *,
        trusted_realms: frozenset[str] = frozenset(),
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._credentials = credentials
        self._door = door
        self._trusted_realms = trusted_realms
        self._note = note
        self._lock = threading.Lock()
        self._stations: dict[str, _Station] = {}

    def header(self, who: Who, scopes: tuple[str, ...]) -> str:
        """The header to send at once; "" until the registry has asked for one."""
        station = self._station(who)
        ticket = station.tickets.get(scopes)
        if ticket and ticket.end > time.monotonic():
            return ticket.header
        with station.lock:
            ticket = station.tickets.get(scopes)
            if ticket and ticket.end > time.monotonic():
                return ticket.header
            if station.challenge is None:
                return ""
            return self._obtain(station, who, scopes, station.challenge)

    def renew(self, who: Who, scopes: tuple[str, ...], asked: Sequence[str], used: str) -> str:
        """After a 401 to a request sent with `used`: another header, or RegistryError."""
        challenge = choose(parse_challenges(asked))
        if challenge is None:
            raise RegistryError("401, and no way to authenticate that is known")
        station = self._station(who)
        with station.lock:
            ticket = station.tickets.get(scopes)
            if ticket and ticket.header != used and ticket.end > time.monotonic():
                return ticket.header  # another thread was faster
            station.challenge = challenge
            return self._obtain(station, who, scopes, challenge)

    def rejected(self, who: Who) -> str:
        """Words for a request that was refused with everything we have."""
        found = self._credentials.find(who.registry, who.repository)
        if found:
            return f"the credentials from {found.source or 'the command line'} are not accepted"
        return "no credentials are known for it"

    def _station(self, who: Who) -> _Station:
        with self._lock:
            return self._stations.setdefault(who.url, _Station())

    def _obtain(
        self, station: _Station, who: Who, scopes: tuple[str, ...], challenge: Challenge
    ) -> str:
        found = self._credentials.find(who.registry, who.repository)
        if challenge.scheme == "basic":
            ticket = self._basic(who, found)
        elif found and found.registry_token:
            ticket = _Ticket(f"Bearer {_checked(found.registry_token)}", float("inf"))
        else:
            ticket = self._bearer(station, who, scopes, challenge, found)
        station.tickets[scopes] = ticket
        return ticket.header

    def _basic(self, who: Who, found: Credential | None) -> _Ticket:
        if not found or not found.username:
            raise RegistryError(
                "it asks for a user and a password, and none is known",
                hint=f"lazybuild login {who.registry}",
            )
        return _Ticket(f"Basic {found.basic()}", float("inf"))

    def _bearer(
        self,
        station: _Station,
        who: Who,
        scopes: tuple[str, ...],
        challenge: Challenge,
        found: Credential | None,
    ) -> _Ticket:
        realm = challenge.parameters.get("realm", "")
        if not trust.realm_allowed(who.url, realm):
            raise RegistryError(
                f"its token service {shown(realm)} is not one to be asked: "
                "it must be https, and an address only if it is the registry's own"
            )
        if found and not trust.realm_trusted(who.registry, who.url, realm, self._trusted_realms):
            self._note(f"credentials for {who.registry} are not sent to {shown(realm)}")
            found = None
        query = _query(challenge, scopes)
        identity = station.refresh.get(realm) or (found.identity_token if found else "")
        if identity:
            reply = self._door(realm, authorization="", form=_form(query, identity))
        else:
            basic = f"Basic {found.basic()}" if found and found.username else ""
            url = f"{realm}{'&' if '?' in realm else '?'}{urllib.parse.urlencode(query)}"
            reply = self._door(url, authorization=basic, form="")
        ticket, refresh = self._ticket(who, realm, reply)
        if identity and refresh:
            station.refresh[realm] = refresh
        return ticket

    def _ticket(self, who: Who, realm: str, reply: TokenReply) -> tuple[_Ticket, str]:
        """The ticket, and the refresh token that came with it or ""."""
        if reply.status != _OK:
            raise RegistryError(
                f"its token service {shown(realm)} answered {reply.status}; {self.rejected(who)}",
                hint=f"lazybuild login {who.registry}",
            )
        try:
            value = json.loads(reply.body)
            token = value.get("token") or value.get("access_token")
            seconds, refresh = value.get("expires_in"), value.get("refresh_token")
        except (ValueError, AttributeError, RecursionError):
            token = seconds = refresh = None
        if not isinstance(token, str):
            raise RegistryError(f"its token service {shown(realm)} answered without a token")
        ticket = _Ticket(f"Bearer {_checked(token)}", time.monotonic() + _life(seconds))
        return ticket, refresh if isinstance(refresh, str) else ""


def parse_challenges(values: Sequence[str]) -> list[Challenge]:
    """WWW-Authenticate headers as challenges (RFC 9110, 11.6.1); what can't be read is skipped."""
    found = []
    for value in values:
        text = value[:_CHALLENGE_LIMIT]
        place = 0
        while match := _SCHEME.match(text, place):
            place, parameters = match.end(), {}
            while pair := _PARAMETER.match(text, place):
                quoted, plain = pair[2], pair[3]
                parameters[pair[1].lower()] = (
                    plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                )
                place = pair.end()
            found.append(Challenge(scheme=match[1].lower(), parameters=parameters))
    return found


def choose(challenges: Sequence[Challenge]) -> Challenge | None:
    """Bearer before Basic; others are not known here."""
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme:
                return challenge
    return None


def _query(challenge: Challenge, scopes: tuple[str, ...]) -> list[tuple[str, str]]:
    service = challenge.parameters.get("service", "")
    pairs = [("service", service)] if service else []
    return pairs + [("scope", scope) for scope in scopes]


def _form(query: list[tuple[str, str]], identity: str) -> str:
    scopes = " ".join(value for key, value in query if key == "scope")
    fields = {key: value for key, value in query if key != "scope"}
    fields |= {"grant_type": "refresh_token", "refresh_token": identity, "client_id": _CLIENT}
    return urllib.parse.urlencode(fields | ({"scope": scopes} if scopes else {}))


def _life(seconds: object) -> float:
    """How long to use a token: a little less than told, by the monotonic clock."""
    told = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else _DEFAULT_LIFE
    return min(told * 0.8, max(told - 30.0, told * 0.5), 86400.0)


def _checked(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise RegistryError("a token with characters that no header may hold")
    return token
