"""Failures as they cross the wire: google.rpc.Status with BuildKit's details, both ways.

A detail is an Any whose type is `github.com/moby/buildkit/<type>+json` and whose value is JSON.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import DecodeError

from lazybuild.errors import BuildError, LazybuildError, Span
from lazybuild.wire.buildkit_frontend_protos.status_pb2 import Status

PREFIX = "github.com/moby/buildkit/"
SUFFIX = "+json"
CANCELLED = 1
UNKNOWN = 2
NOT_FOUND = 5
UNIMPLEMENTED = 12
UNAVAILABLE = 14

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]


class RemoteError(BuildError):
    """BuildKit says that it failed; `status` is what it said, to be handed on unchanged."""

    def __init__(self, message: str, *, status: Status, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A part of a file that an error speaks of."""

    span: Span
    data: bytes
    language: str = "Dockerfile"


def status(
    message: str, *, code: int = UNKNOWN, details: Mapping[str, Json] | None = None
) -> Status:
    packed = _packed(details or {})
    return Status(code=code, message=_clean(message), details=packed)


def _packed(details: Mapping[str, Json]) -> list[Packed]:
    return [
        Packed(type_url=f"{PREFIX}{kind}{SUFFIX}", value=json.dumps(value).encode())
        for kind, value in details.items()
    ]


def status_of(error: LazybuildError, place: Place | None = None) -> Status:
    """An error of ours, with an excerpt of the file where there is one; BuildKit's as it came."""
    details: dict[str, Json] = {"errdefs.Source": _source(place)} if place else {}
    if isinstance(error, RemoteError):
        whole = Status()
        whole.CopyFrom(error.status)
        if place is not None and place_of(whole) is None:
            whole.details.extend(_packed(details))
        return whole
    said = error.message
    if error.hint and error.hint not in said:
        said += f"\n{error.hint}"
    return status(said, details=details)


def _source(place: Place) -> Json:
    start, end = place.span.line, max(place.span.line, place.span.end_line)
    return {
        "info": {
            "filename": _clean(place.span.path),
            "data": base64.b64encode(place.data).decode(),
            "language": place.language,
        },
        "ranges": [{"start": {"line": start}, "end": {"line": end}}],
    }


def _clean(text: str) -> str:
    """Protobuf takes UTF-8 only."""
    return text.encode("utf-8", "replace").decode()


def read_status(data: bytes, *, code: int, message: str) -> Status:
    """The status in a call's trailing metadata, or one of what the call itself said."""
    try:
        found = Status.FromString(data) if data else None
    except DecodeError:
        found = None
    return found or Status(code=code, message=message)


def place_of(found: Status) -> Place | None:
    """The first place in a file that a status names. What makes no sense is left out."""
    for detail in found.details:
        if detail.type_url == f"{PREFIX}errdefs.Source{SUFFIX}":
            try:
                return _place(json.loads(detail.value))
            except (ValueError, KeyError, TypeError, AttributeError, IndexError):
                return None
    return None


def _place(value: Any) -> Place:  # noqa: ANN401 - hostile JSON; what isn't so is no place
    info, first = value["info"], value["ranges"][0]
    start, end = int(first["start"]["line"]), int(first.get("end", first["start"])["line"])
    return Place(
        span=Span(path=str(info["filename"]), line=start, end_line=end),
        data=base64.b64decode(info.get("data", ""), validate=True),
        language=str(info.get("language", "")),
    )
