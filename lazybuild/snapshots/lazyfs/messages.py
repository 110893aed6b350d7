"""What client and daemon say to each other: one JSON object a line over a socket pair.

A request has a number and gets one reply with that number; the daemon also sends events, which
have none. Door to msgspec of this room, for these records and for pieces of a TOC. Values only.
"""

from collections.abc import Mapping

import msgspec

from lazybuild.errors import (
    BuildError,
    HostError,
    IntegrityError,
    LazybuildError,
    RegistryError,
    ResourceError,
    UsageError,
)
from lazybuild.estargz.toc import TocEntry
from lazybuild.linux.shortage import of_memory
from lazybuild.snapshots.lazyfs.blobmap import Cell
from lazybuild.snapshots.lazyfs.fetchlog import Fetch

ELSEWHERE = "its table of contents is in another image"  # why a layer was not added
_KINDS: Mapping[str, type[LazybuildError]] = {
    kind.__name__: kind
    for kind in (
        LazybuildError, BuildError, HostError, IntegrityError, RegistryError, ResourceError,
        UsageError,
    )
}  # fmt: skip


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An error that crosses the socket."""

    kind: str
    message: str
    hint: str = ""


class Start(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first request: where to mount, which store, how to reach registries."""

    mountpoint: str
    store: str
    registry: str


class Add(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Show a layer. Its blob is at `origins` ("host:port/repo"), or is the `length` bytes from
    `offset` on of the local file `blob`. `unverified`: a TOC that nobody vouches for shall do.
    `toc` is a file with the TOC of a layer that hasn't it itself.
    """

    digest: str
    size: int
    media_type: str
    annotations: dict[str, str]
    toc_digest: str
    origins: tuple[str, ...]
    blob: str
    offset: int = 0
    length: int = 0
    unverified: bool = False
    toc: str = ""


class Prefetch(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Fetch files by name, chunks by digest ("sha256:..."), what the landmark says, or all.

    `steps` are commands that will be run over the layer: what they are sure to read is guessed.
    What is for `later` stands behind all that is not, and `Settle` does not wait for it.
    """

    digest: str
    names: tuple[str, ...] = ()
    chunks: tuple[str, ...] = ()
    landmark: bool = False
    everything: bool = False
    steps: tuple[tuple[str, ...], ...] = ()
    later: bool = False


class Settle(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Wait until nothing that Prefetch wants now is left, at most `seconds`."""

    seconds: float


class Probe(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Fetch one byte of the blob, past every cache."""

    digest: str


class Whole(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Fetch the whole blob into the store and read from there."""

    digest: str


class ChunksRead(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask for the chunks of a layer that were read, in order of first reads."""

    digest: str


class Journal(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask what was fetched of a layer, when, and for a map of its blob."""

    digest: str


class Stats(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask for the figures of all layers."""


class Trace(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask for the files read, in order of first reads, from the `start`-th on."""

    start: int = 0


class Ping(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask whether all is well."""


class Close(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Unmount and end."""


Body = (
    Start | Add | Prefetch | Settle | Probe | Whole | ChunksRead | Journal | Stats | Trace | Ping
    | Close
)  # fmt: skip


class Request(msgspec.Struct, frozen=True):
    """A numbered request."""

    id: int
    body: Body


class LayerStats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a layer, bytes as they are in the blob; `ahead` and so on by `reader.Why`.

    `landmark` is up to where its writer wants a prefetch, `prefetch_end` up to where it is done.
    """

    digest: str
    requests: int
    bytes_fetched: int
    chunks: int
    chunks_fetched: int
    chunks_read: int
    bytes_read: int
    refetched: int
    fetched_for: dict[str, int]
    used_of: dict[str, int]
    landmark: int = 0
    prefetch_end: int = 0


class LayerJournal(msgspec.Struct, frozen=True, kw_only=True):
    """The requests for a layer, of which `left_out` more are not listed, and its blob as cells."""

    fetches: tuple[Fetch, ...]
    left_out: int
    cells: tuple[Cell, ...]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to request `id`, or an event when that is 0. Unused fields keep their defaults."""

    id: int
    fault: Fault | None = None
    path: str = ""  # Add: the layer's folder
    reason: str = ""  # Add: why there is none
    number: int = 0  # Prefetch: bytes queued; Settle: 1 when all is done
    oldest: float = 0.0  # Ping: age of the oldest read that waits for bytes
    layers: tuple[LayerStats, ...] = ()
    trace: tuple[tuple[str, str], ...] = ()
    chunks: tuple[str, ...] = ()
    journal: LayerJournal | None = None
    note: str = ""  # event: what the user should hear of
    digest: str = ""  # event: layer of a read that failed, and below its path
    name: str = ""


_requests = msgspec.json.Decoder(Request)
_replies = msgspec.json.Decoder(Reply)
_entries = msgspec.json.Decoder(list[TocEntry])
_encoder = msgspec.json.Encoder()


def encode(message: Request | Reply) -> bytes:
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    return _requests.decode(line)


def decode_reply(line: bytes) -> Reply:
    return _replies.decode(line)


def decode_entries(text: bytes) -> list[TocEntry] | None:
    """Entries of a TOC, None when the text is no array of them."""
    try:
        return _entries.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def fault(error: Exception) -> Fault:
    """Anything that isn't in the error tree is a bug of the daemon and is called so."""
    if isinstance(error, LazybuildError):
        return Fault(kind=type(error).__name__, message=error.message, hint=error.hint)
    if what := of_memory(error) or (str(error) if isinstance(error, OSError) else ""):
        return Fault(kind="ResourceError", message=f"lazy file system: {what}")
    return Fault(kind="", message=f"lazy file system: {type(error).__name__}: {error}")


def raised(found: Fault) -> Exception:
    kind = _KINDS.get(found.kind)
    return RuntimeError(found.message) if kind is None else kind(found.message, hint=found.hint)
