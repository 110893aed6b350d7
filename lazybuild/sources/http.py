"""Files behind a URL: ADD of http(s), and contexts that are one. An edge by `fetch`.

The bytes are kept in the store by digest. What was said of them (ETag, Last-Modified) is remembered
and asked again with the next build; with a checksum that matches nothing is asked at all.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from lazybuild.errors import BuildError, IntegrityError
from lazybuild.estargz.entry import Entry, Item, Kind
from lazybuild.llb.ops import SourceOp
from lazybuild.oci import digest as digests
from lazybuild.oci.digest import Digest
from lazybuild.registry.redact import shown
from lazybuild.snapshots.paths import clean
from lazybuild.sources.attrs import Attrs, decode_pairs, encode_pairs
from lazybuild.sources.fetch import Policy, Response, get, place_of
from lazybuild.store import Store

MEMO = "http"
UNNAMED = "download"
MAX_NAME = 255
_NANO = 1_000_000_000

# A secret of the build by its id, None if there is none.
Secrets = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A downloaded file as it will stand in a snapshot. `mtime` in nanoseconds."""

    digest: Digest
    size: int
    name: str
    mode: int
    uid: int
    gid: int
    mtime: int

    @property
    def identity(self) -> tuple[str, ...]:
        """What a cache key is made of: bytes, name and metadata, not when and from where."""
        return (self.digest, self.name, f"{self.mode:o}", f"{self.uid}:{self.gid}")


def no_secrets(name: str) -> bytes | None:
    del name
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSources:
    """The downloads of a store. In one build each is asked for once."""

    store: Store
    policy: Policy = field(default_factory=Policy)
    secrets: Secrets = no_secrets
    _found: dict[SourceOp, File] = field(default_factory=dict, repr=False)

    def file(self, op: SourceOp) -> File:
        """The file behind a URL, downloaded unless the one at hand is still the same."""
        known = self._found.get(op)
        if known is None:
            known = self._found[op] = self._looked_up(op)
        return known

    def _looked_up(self, op: SourceOp) -> File:
        attrs = Attrs(op)
        url = op.identifier
        checksum = _checksum(attrs.text("http.checksum"))
        said = self._said(url)
        if not (checksum and said.get("digest") == checksum):
            said = self._asked(url, attrs, said, checksum)
            self.store.meta.memo_put(MEMO, url, encode_pairs(said))
        return _file(attrs, said, self.store.blobs.size(Digest(said["digest"])))

    def items(self, file: File) -> Iterator[Item]:
        """The file as a layer of its own."""
        entry = Entry(
            name=file.name,
            kind=Kind.REG,
            mode=file.mode,
            uid=file.uid,
            gid=file.gid,
            size=file.size,
            mtime=file.mtime,
        )
        yield Item(entry, self._opener(file) if file.size else None)

    def _opener(self, file: File) -> Callable[[], BinaryIO]:
        return lambda: self.store.blobs.open(file.digest)

    def _said(self, url: str) -> Mapping[str, str]:
        """What is remembered of a URL, if its bytes are still there."""
        said = decode_pairs(self.store.meta.memo_get(MEMO, url) or "")
        digest = said.get("digest", "")
        if not digest or not self.store.blobs.has(digests.parse(digest)):
            return {}
        return said

    def _asked(
        self, url: str, attrs: Attrs, said: Mapping[str, str], checksum: str
    ) -> Mapping[str, str]:
        place_of(url)  # before anybody takes it apart
        headers = {**_conditions(said), **self._authorization(url, attrs)}
        with get(url, headers, self.policy) as response:
            if response.status == HTTPStatus.NOT_MODIFIED and said:
                _match(url, said["digest"], checksum)
                return said
            if response.status != HTTPStatus.OK:
                raise BuildError(f"{shown(url)}: unexpected status {response.status}")
            digest = self._download(url, response, checksum)
        return {
            "digest": digest,
            "etag": response.header("ETag"),
            "modified": response.header("Last-Modified"),
            "name": _offered_name(response),
        }

    def _download(self, url: str, response: Response, checksum: str) -> str:
        total = hashlib.sha256()
        with self.store.blobs.ingest() as ingest:
            for piece in response.pieces():
                total.update(piece)
                ingest.write(piece)
            digest = "sha256:" + total.hexdigest()
            _match(url, digest, checksum)
            ingest.commit(Digest(digest))
        return digest

    def _authorization(self, url: str, attrs: Attrs) -> dict[str, str]:
        """A header from the secrets HTTP_AUTH_HEADER_<host> or HTTP_AUTH_TOKEN_<host>."""
        host = urlsplit(url).netloc.rpartition("@")[2]
        named = attrs.text("http.authheadersecret")
        for name in (named, f"HTTP_AUTH_HEADER_{host}"):
            if name and (value := self.secrets(name)):
                return {"Authorization": _header_value(value)}
        if token := self.secrets(f"HTTP_AUTH_TOKEN_{host}"):
            return {"Authorization": f"Bearer {_header_value(token)}"}
        return {}


def _header_value(secret: bytes) -> str:
    text = secret.decode("latin-1").strip()
    if not text.isprintable():
        raise BuildError("a secret for an Authorization header has control characters")
    return text


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _checksum(text: str) -> str:
    if not text:
        return ""
    if not text.startswith("sha256:"):
        raise BuildError(f"checksum {text[:80]!r}: only sha256 is supported")
    return digests.parse(text)


def _match(url: str, digest: str, checksum: str) -> None:
    if checksum and digest != checksum:
        raise IntegrityError(f"{shown(url)}: the digest is {digest}, expected {checksum}")


def _conditions(said: Mapping[str, str]) -> dict[str, str]:
    if said.get("etag"):
        return {"If-None-Match": said["etag"]}
    if said.get("modified"):
        return {"If-Modified-Since": said["modified"]}
    return {}


def _file(attrs: Attrs, said: Mapping[str, str], size: int) -> File:
    return File(
        digest=digests.parse(said["digest"]),
        size=size,
        name=safe_name(attrs.text("http.filename")) or said.get("name", "") or UNNAMED,
        mode=attrs.number("http.perm", 0o600, base=8) & 0o7777,
        uid=attrs.number("http.uid", 0),
        gid=attrs.number("http.gid", 0),
        mtime=_time(said.get("modified", "")),
    )


def _time(text: str) -> int:
    """Last-Modified in nanoseconds; the epoch for what is no date."""
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp())) * _NANO
    except (ValueError, OverflowError, IndexError, TypeError):
        return 0


def _offered_name(response: Response) -> str:
    """The name that the server gives, else the last part of the URL's path."""
    head = Message()
    head["Content-Disposition"] = response.header("Content-Disposition")
    offered = head.get_filename() or ""
    return safe_name(offered) or safe_name(unquote(urlsplit(response.url).path))


def safe_name(text: str) -> str:
    """The last part of whatever a server or a URL calls a file; "" if nothing is left."""
    name = clean(text.replace("\\", "/")).rpartition("/")[2]
    if "\0" in name or name.startswith(".wh.") or len(name.encode("utf-8", "replace")) > MAX_NAME:
        return ""
    return name
