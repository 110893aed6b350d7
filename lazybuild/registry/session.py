"""Requests to endpoints: authorization, redirects by hand, retries, and errors in words.

The one rule it must not break: an Authorization header goes to the endpoint's own origin only.
Thread rule: shared by all threads.
"""

import contextlib
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

from lazybuild.errors import RegistryError
from lazybuild.registry import trust
from lazybuild.registry.auth import Authorizer, TokenReply, Who
from lazybuild.registry.calls import Call, Sent
from lazybuild.registry.complaints import passed, words
from lazybuild.registry.credentials import CredentialSource
from lazybuild.registry.hosts import Endpoint
from lazybuild.registry.redact import shown
from lazybuild.registry.retry import Attempts, Clock, Kind, Policy, Trouble
from lazybuild.registry.tls import TlsContexts

if TYPE_CHECKING:
    from lazybuild.registry.transport import Answer, Transport

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_HOPS: Final = 5
_MOST_RENEWALS: Final = 2
_COMPLAINT: Final = 16 * 1024
_TOKEN_LIMIT: Final = 1 << 20
_FIRST_ERROR = 400
UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to do at an endpoint. `path` is below the repository, e.g. "blobs/sha256:…".

    `url` instead names a whole place: a remembered redirect or an upload location. Without
    `actions` it is about the registry and no repository.
    """

    method: str
    endpoint: Endpoint
    path: str = ""
    url: str = ""
    actions: str = "pull"
    also: tuple[str, ...] = ()  # further repositories of the same registry to be pulled from
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Sent | None = None
    length: int = 0
    stall: float = 0.0
    subject: str = ""  # for messages, instead of the repository and path

    @property
    def title(self) -> str:
        return f"{self.method} {self.subject or self.endpoint.name}"

    @property
    def scopes(self) -> tuple[str, ...]:
        if not self.actions:
            return ()
        own = f"repository:{self.endpoint.repository}:{self.actions}"
        return (own, *(f"repository:{name}:pull" for name in self.also))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is not a redirect, and the place it came from in the end."""

    answer: "Answer"
    url: str


class Session:
    """All that requests share: connections, tickets, the scheme that each host speaks."""

    def __init__(
        self,
        transport: "Transport",
        credentials: CredentialSource,
        tls: TlsContexts,
        *,
        clock: Clock,
        policy: Policy,
        note: Callable[[str], None],
        trusted_realms: frozenset[str] = frozenset(),
    ) -> None:
        self.clock = clock
        self.policy = policy
        self.traffic = transport.traffic
        self._transport = transport
        self._tls = tls
        self._note = note
        self._auth = Authorizer(
            credentials, self._ask_token_service, trusted_realms=trusted_realms, note=note
        )
        self._schemes = _Schemes()

    def close(self) -> None:
        self._transport.close()

    def attempts(self, request: Request, policy: Policy | None = None) -> Attempts:
        return Attempts(
            subject=request.title,
            host=request.endpoint.host,
            policy=policy or self.policy,
            clock=self.clock,
            note=self._note,
        )

    def send(self, request: Request, attempts: Attempts | None = None) -> Reply:
        """An answer below 400, or a 4xx or 501 for the caller to judge. Retries the rest."""
        attempts = attempts or self.attempts(request)
        while True:
            try:
                return self.once(request)
            except Trouble as trouble:
                attempts.failed(trouble)

    def fetch(
        self,
        request: Request,
        limit: int,
        attempts: Attempts,
        *,
        absent: frozenset[int] = frozenset(),
    ) -> tuple[Reply, bytes]:
        """A whole small answer below 400, or one of `absent` without its body."""
        while True:
            try:
                reply = self.once(request)
                if reply.answer.status in absent:
                    reply.answer.close()
                    return reply, b""
                if reply.answer.status >= _FIRST_ERROR:
                    self.refuse(request, reply, attempts)
                with reply.answer as answer:
                    return reply, answer.read(limit)
            except Trouble as trouble:
                attempts.failed(trouble)

    def once(self, request: Request) -> Reply:
        """One attempt: with renewed tickets and redirects, without retries. Raises Trouble."""
        url = request.url or self.url(request)
        renewed = hops = 0
        first: Trouble | None = None
        own = self._own(request, url)
        ticket = self._ticket(request) if own else ""
        while True:
            try:
                answer = self._exchange(request, url, ticket, own=own)
            except Trouble as trouble:
                if trouble.kind is Kind.NOT_TLS and first is not None:
                    self._schemes.confirm(request.endpoint, "http")
                    raise first from None  # it was the right scheme, and something else
                if request.url or hops or not self._schemes.advance(request.endpoint):
                    raise
                first, url = trouble, self.url(request)
                continue
            if answer.status == UNAUTHORIZED and own and renewed < _MOST_RENEWALS:
                ticket = self._renew(request, answer, ticket)
                renewed += 1
            elif answer.status in _REDIRECTS and request.method in {"GET", "HEAD"}:
                url = _next(url, answer, hops)
                # Once elsewhere, always elsewhere: no strange host chooses what the ticket opens.
                own = own and self._own(request, url)
                hops += 1
            else:
                return Reply(answer=passed(answer), url=url)

    def url(self, request: Request) -> str:
        endpoint = request.endpoint
        scheme = self._schemes.current(endpoint)
        middle = f"/{endpoint.repository}/" if request.path else "/"
        query = dict(request.query)
        if endpoint.namespace:
            query["ns"] = endpoint.namespace
        return _with_query(
            f"{scheme}://{endpoint.host}{endpoint.base}{middle}{request.path}", query
        )

    def refuse(self, request: Request, reply: Reply, attempts: Attempts | None = None) -> NoReturn:
        """Turn an answer that ends the matter into a RegistryError."""
        attempts = attempts or self.attempts(request)
        attempts.end(self.complaint(request, reply))

    def complaint(self, request: Request, reply: Reply) -> Trouble:
        """The Trouble that says what the registry said."""
        with reply.answer as answer:
            said = words(answer)
        status = answer.status
        if status in (UNAUTHORIZED, FORBIDDEN):
            login = f"lazybuild login {request.endpoint.registry}"
            if self._own(request, reply.url):
                said = f"{said}; {self._auth.rejected(self._who(request))}"
            return Trouble(Kind.REFUSED, said, hint=login)
        if status == NOT_FOUND:
            return Trouble(
                Kind.REFUSED,
                said,
                hint="check the name; some registries say this also when "
                f"a login is missing: lazybuild login {request.endpoint.registry}",
            )
        return Trouble(Kind.REFUSED, said)

    def _exchange(self, request: Request, url: str, ticket: str, *, own: bool) -> "Answer":
        headers = {**request.headers}
        if own:
            headers |= dict(request.endpoint.headers) | (
                {"Authorization": ticket} if ticket else {}
            )
        answer = self._transport.exchange(
            Call(
                method=request.method,
                url=url,
                tls=lambda: self._tls.context(trust.origin(url), request.endpoint if own else None),
                headers=headers,
                body=request.body,
                length=request.length,
                stall=request.stall,
            )
        )
        if own and not request.url:
            self._confirm(request.endpoint, url, answer)
        return answer

    def _confirm(self, endpoint: Endpoint, url: str, answer: "Answer") -> None:
        """The scheme is right unless a TLS server answers plain HTTP with its usual 400."""
        suspicious = answer.status == _FIRST_ERROR and self._schemes.open(endpoint)
        if suspicious and b"HTTPS" in answer.peek(_COMPLAINT):
            answer.close()
            raise Trouble(Kind.REFUSED, "400: it speaks only TLS on this port")
        self._schemes.confirm(endpoint, url.partition(":")[0])

    def _own(self, request: Request, url: str) -> bool:
        here = trust.origin(url)
        scheme = self._schemes.current(request.endpoint)
        return here == trust.origin(f"{scheme}://{request.endpoint.host}")

    def _who(self, request: Request) -> Who:
        endpoint = request.endpoint
        return Who(
            registry=endpoint.registry,
            url=f"{self._schemes.current(endpoint)}://{endpoint.host}",
            repository=endpoint.repository,
        )

    def _ticket(self, request: Request) -> str:
        with _wording():
            return self._auth.header(self._who(request), request.scopes)

    def _renew(self, request: Request, answer: "Answer", used: str) -> str:
        asked = answer.headers("WWW-Authenticate")
        answer.close()
        with _wording():
            return self._auth.renew(self._who(request), request.scopes, asked, used)

    def _ask_token_service(self, url: str, *, authorization: str, form: str) -> TokenReply:
        """Send to a token service, without redirects: where it stands is part of the trust."""
        origin = trust.origin(url)
        headers = {"Authorization": authorization} if authorization else {}
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        call = Call(
            method="POST" if form else "GET",
            url=url,
            tls=lambda: self._tls.context(origin, None),
            headers=headers,
            body=(lambda: [form.encode()]) if form else None,
            length=len(form.encode()),
        )
        attempts = Attempts(
            subject=f"{call.method} {shown(url)}",
            host=origin.host,
            policy=self.policy,
            clock=self.clock,
            note=self._note,
        )
        while True:
            try:
                with passed(self._transport.exchange(call)) as answer:
                    return TokenReply(status=answer.status, body=answer.read(_TOKEN_LIMIT))
            except Trouble as trouble:
                attempts.failed(trouble)


class _Schemes:
    """Which scheme each host speaks: the first of its endpoint's that was answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trial: dict[str, int] = {}
        self._sure: set[str] = set()

    def current(self, endpoint: Endpoint) -> str:
        return endpoint.schemes[self._trial.get(endpoint.host, 0) % len(endpoint.schemes)]

    def open(self, endpoint: Endpoint) -> bool:
        return len(endpoint.schemes) > 1 and endpoint.host not in self._sure

    def confirm(self, endpoint: Endpoint, scheme: str) -> None:
        """Keep to the scheme that was answered, whatever other threads are trying meanwhile."""
        with self._lock:
            if endpoint.host not in self._sure and scheme in endpoint.schemes:
                self._trial[endpoint.host] = endpoint.schemes.index(scheme)
                self._sure.add(endpoint.host)

    def advance(self, endpoint: Endpoint) -> bool:
        """Go on to the next scheme; False when the host is known or all have been tried."""
        with self._lock:
            if not self.open(endpoint):
                return False
            trial = self._trial.get(endpoint.host, 0) + 1
            self._trial[endpoint.host] = trial % len(endpoint.schemes)
            return trial < len(endpoint.schemes)


def _next(url: str, answer: "Answer", hops: int) -> str:
    """The place a redirect leads to, if it may be followed."""
    location = answer.header("Location")
    answer.close()
    try:
        if hops >= _MOST_HOPS:
            raise trust.NotTrustedError(f"it is the {hops + 1}th in a row")
        return trust.follow(url, location)
    except trust.NotTrustedError as error:
        place = shown(location)
        raise Trouble(Kind.REFUSED, f"a redirect to {place} is refused: {error}") from None


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}?{urllib.parse.urlencode(query)}" if query else url


@contextlib.contextmanager
def _wording() -> Iterator[None]:
    """Let the attempts put the subject before what the authorizer has to say."""
    try:
        yield
    except RegistryError as error:
        raise Trouble(Kind.REFUSED, error.message, hint=error.hint) from error
