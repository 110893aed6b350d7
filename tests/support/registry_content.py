"""What a registry holds and how it answers when all is well. No sockets here.

Spec: OCI distribution 1.1, endpoints end-1 to end-13.
"""

import hashlib
import json
import re
import threading
import uuid
from dataclasses import dataclass, field
from typing import Protocol

_NAME = r"(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_BLOB = re.compile(rf"/v2/{_NAME}/blobs/(?P<ref>[^/]+)")
_UPLOADS = re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<ref>[^/]*)")
_MANIFEST = re.compile(rf"/v2/{_NAME}/manifests/(?P<ref>[^/]+)")
_TAGS = re.compile(rf"/v2/{_NAME}/tags/list")
_REFERRERS = re.compile(rf"/v2/{_NAME}/referrers/(?P<ref>[^/]+)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(slots=True)
class Requested:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass(slots=True)
class Reply:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Repository:
    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Place(Protocol):
    """The part of LocalRegistry that answers depend on."""

    content: "Content"
    referrers: bool
    mount: bool
    location_base: str


class Content:
    """Blobs, manifests, tags and open uploads. Safe for all handler threads."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.blobs: dict[str, bytes] = {}
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytearray] = {}

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def put_blob(self, repository: str, data: bytes) -> str:
        digest = _digest(data)
        with self.lock:
            self.blobs[digest] = data
            self.repository(repository).blobs.add(digest)
        return digest

    def put_manifest(self, repository: str, data: bytes, media_type: str, tag: str) -> str:
        digest = _digest(data)
        with self.lock:
            held = self.repository(repository)
            held.manifests[digest] = (data, media_type)
            if tag:
                held.tags[tag] = digest
        return digest

    def manifest(self, repository: str, ref: str) -> tuple[str, bytes, str] | None:
        with self.lock:
            held = self.repository(repository)
            digest = held.tags.get(ref, ref)
            found = held.manifests.get(digest)
            return (digest, *found) if found else None

    def append(self, request: Requested) -> None:
        """Keep the part of an upload that arrived before the connection broke."""
        if match := _UPLOADS.fullmatch(request.path):
            with self.lock:
                self.uploads.setdefault(match["ref"], bytearray()).extend(request.body)


def answer(place: Place, request: Requested) -> Reply:
    if request.path == "/v2/":
        return Reply(200, {}, b"{}")
    for pattern, serve in (
        (_UPLOADS, _uploads),
        (_BLOB, _blob),
        (_MANIFEST, _manifest),
        (_TAGS, _tags),
        (_REFERRERS, _referrers),
    ):
        if match := pattern.fullmatch(request.path):
            return serve(place, request, match["name"], match.groupdict().get("ref") or "")
    return _error(404, "UNSUPPORTED")


def _blob(place: Place, request: Requested, name: str, ref: str) -> Reply:
    data = place.content.blobs.get(ref)
    if data is None or ref not in place.content.repository(name).blobs:
        return _error(404, "BLOB_UNKNOWN")
    reply = _ranged(request, data)
    reply.headers.update({"Docker-Content-Digest": ref, "Content-Type": "application/octet-stream"})
    if request.method == "HEAD":
        reply.headers["Content-Length"] = str(len(data))
    return reply


def _ranged(request: Requested, data: bytes) -> Reply:
    wanted = request.headers.get("range")
    if not wanted or request.method != "GET":
        return Reply(200, {"Accept-Ranges": "bytes"}, data)
    match = _RANGE.fullmatch(wanted)
    if not match or match[1] == match[2] == "":
        return Reply(416, {"Content-Range": f"bytes */{len(data)}"})
    first = int(match[1]) if match[1] else max(len(data) - int(match[2]), 0)
    last = min(int(match[2]) if match[1] and match[2] else len(data) - 1, len(data) - 1)
    if first > last:
        return Reply(416, {"Content-Range": f"bytes */{len(data)}"})
    return Reply(
        206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1]
    )


def _manifest(place: Place, request: Requested, name: str, ref: str) -> Reply:
    if request.method == "PUT":
        return _put_manifest(place, request, name, ref)
    found = place.content.manifest(name, ref)
    if not found:
        return _error(404, "MANIFEST_UNKNOWN")
    digest, data, media_type = found
    headers = {"Content-Type": media_type, "Docker-Content-Digest": digest}
    if request.method == "HEAD":
        headers["Content-Length"] = str(len(data))
    return Reply(200, headers, data)


def _put_manifest(place: Place, request: Requested, name: str, ref: str) -> Reply:
    digest = _digest(request.body)
    if ":" in ref and ref != digest:
        return _error(400, "DIGEST_INVALID")
    if missing := _missing(place.content, name, request.body):
        return _error(400, "MANIFEST_BLOB_UNKNOWN", missing)
    tag = "" if ":" in ref else ref
    media_type = request.headers.get("content-type", "")
    place.content.put_manifest(name, request.body, media_type, tag)
    headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
    subject = json.loads(request.body).get("subject")
    if subject and place.referrers:
        headers["OCI-Subject"] = subject["digest"]
    return Reply(201, headers)


def _missing(content: Content, name: str, body: bytes) -> str:
    """The first child that is not there yet: a real registry refuses such a manifest."""
    value = json.loads(body)
    held = content.repository(name)
    for child in value.get("manifests", []):
        if child["digest"] not in held.manifests:
            return str(child["digest"])
    for child in [value.get("config"), *value.get("layers", [])]:
        if child and child["digest"] not in held.blobs:
            return str(child["digest"])
    return ""


def _uploads(place: Place, request: Requested, name: str, ref: str) -> Reply:
    content = place.content
    with content.lock:
        if request.method == "POST":
            return _start(place, request, name)
        held = content.uploads.get(ref)
        if held is None:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        if request.method == "DELETE":
            del content.uploads[ref]
            return Reply(204)
        if request.method in ("PATCH", "PUT"):
            start = request.headers.get("content-range", "").removeprefix("bytes ").split("-")[0]
            if start and int(start) != len(held):
                return Reply(416, _session(place, name, ref, held))
            held.extend(request.body)
        if request.method == "PUT":
            return _finish(content, request, name, ref)
        return Reply(202 if request.method == "PATCH" else 204, _session(place, name, ref, held))


def _start(place: Place, request: Requested, name: str) -> Reply:
    content = place.content
    digest, source = request.query.get("mount", ""), request.query.get("from", "")
    if digest and place.mount and digest in content.repository(source).blobs:
        content.repository(name).blobs.add(digest)
        return Reply(201, {"Location": f"/v2/{name}/blobs/{digest}"})
    ref = uuid.uuid4().hex
    content.uploads[ref] = bytearray()
    return Reply(202, _session(place, name, ref, content.uploads[ref]))


def _session(place: Place, name: str, ref: str, held: bytearray) -> dict[str, str]:
    return {
        "Location": f"{place.location_base}/v2/{name}/blobs/uploads/{ref}?_state={len(held)}",
        "Range": f"0-{max(len(held) - 1, 0)}",
        "Docker-Upload-UUID": ref,
    }


def _finish(content: Content, request: Requested, name: str, ref: str) -> Reply:
    data = bytes(content.uploads.pop(ref))
    digest = request.query.get("digest", "")
    if digest != _digest(data):
        return _error(400, "DIGEST_INVALID")
    content.put_blob(name, data)
    return Reply(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})


def _tags(place: Place, request: Requested, name: str, ref: str) -> Reply:
    body = {"name": name, "tags": sorted(place.content.repository(name).tags)}
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _referrers(place: Place, request: Requested, name: str, ref: str) -> Reply:
    if not place.referrers:
        return _error(404, "UNSUPPORTED")
    kind = request.query.get("artifactType", "")
    found = []
    for digest, (data, media_type) in place.content.repository(name).manifests.items():
        value = json.loads(data)
        own = value.get("artifactType") or value.get("config", {}).get("mediaType", "")
        if value.get("subject", {}).get("digest") == ref and kind in ("", own):
            one = {"mediaType": media_type, "digest": digest, "size": len(data)}
            found.append(one | {"artifactType": own, "annotations": value.get("annotations", {})})
    body = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": found}
    headers = {"Content-Type": _INDEX} | ({"OCI-Filters-Applied": "artifactType"} if kind else {})
    return Reply(200, headers, json.dumps(body).encode())


def _error(status: int, code: str, detail: str = "") -> Reply:
    body = {"errors": [{"code": code, "message": code.lower().replace("_", " "), "detail": detail}]}
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
