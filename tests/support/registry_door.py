"""Who may pass a registry: nobody asked, basic, or a token from its own token service.

Door()                                          everyone
Door(kind="basic", users={"me": "secret"})
Door(kind="token", users={...}, anonymous_pull=True, identity_tokens={"refresh": "me"})
"""

import base64
import json
import secrets
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Literal

from support.registry_content import Reply, Requested


@dataclass
class Door:
    """The rules, and the tokens given out so far (`tokens`: token -> (scopes, end))."""

    kind: Literal["open", "basic", "token"] = "open"
    users: dict[str, str] = field(default_factory=dict)
    identity_tokens: dict[str, str] = field(default_factory=dict)
    anonymous_pull: bool = False
    realm: str = ""  # default: /token of this registry
    lifetime: float = 300.0
    told_lifetime: int | None = None
    tokens: dict[str, tuple[frozenset[str], float]] = field(default_factory=dict)
    given: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def revoke(self) -> None:
        """All tokens end now, as if their time had come."""
        with self.lock:
            self.tokens.clear()

    def answer(self, request: Requested, url: str) -> Reply | None:
        """What to say instead of the content, or None: come in."""
        if self.kind == "open":
            return None
        if self.kind == "token" and request.path == "/token":
            return self._token(request)
        if self._passes(request):
            return None
        return Reply(401, {"WWW-Authenticate": self._challenge(request, url)}, _UNAUTHORIZED)

    def _challenge(self, request: Requested, url: str) -> str:
        if self.kind == "basic":
            return 'Basic realm="registry"'
        scope = _needed(request)
        realm = self.realm or f"{url}/token"
        return f'Bearer realm="{realm}",service="test registry"' + (
            f',scope="{scope}"' if scope else ""
        )

    def _passes(self, request: Requested) -> bool:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if self.kind == "basic":
            return kind == "Basic" and self._user(value) is not None
        with self.lock:
            scopes, end = self.tokens.get(value, (frozenset(), 0.0))
        needed = _needed(request)
        return kind == "Bearer" and end > time.monotonic() and (not needed or needed in scopes)

    def _user(self, encoded: str) -> str | None:
        name, _, password = base64.b64decode(encoded).decode().partition(":")
        return name if self.users.get(name) == password and name else None

    def _token(self, request: Requested) -> Reply:
        form = urllib.parse.parse_qs(request.body.decode())
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        scopes = form.get("scope") or [request.query.get("scope", "")]
        user: str | None = ""
        if request.method == "POST":
            user = self.identity_tokens.get(form.get("refresh_token", [""])[0])
        elif kind == "Basic":
            user = self._user(value)
        if user is None:
            return Reply(401, {}, _UNAUTHORIZED)
        return self._grant(" ".join(scopes).split(" "), named=bool(user))

    def _grant(self, asked: list[str], *, named: bool) -> Reply:
        granted: set[str] = set()
        for scope in filter(None, asked):
            stem, _, actions = scope.rpartition(":")
            for action in actions.split(","):
                if named or (self.anonymous_pull and action == "pull"):
                    granted.add(f"{stem}:{action}")
        token = secrets.token_urlsafe(20)
        with self.lock:
            self.given += 1
            self.tokens[token] = (frozenset(granted), time.monotonic() + self.lifetime)
        told = self.told_lifetime if self.told_lifetime is not None else int(self.lifetime)
        return Reply(200, {}, json.dumps({"token": token, "expires_in": told}).encode())


def _needed(request: Requested) -> str:
    for part in ("/manifests/", "/blobs/", "/tags/", "/referrers/"):
        name, found, _ = request.path.removeprefix("/v2/").partition(part)
        if found:
            return f"repository:{name}:{'pull' if request.method in ('GET', 'HEAD') else 'push'}"
    return ""


_UNAUTHORIZED = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}).encode()
