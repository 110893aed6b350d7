"""Access profiles: which chunks of lazy layers each step read. Values and their JSON; no I/O.

A profile may come from a registry and is hostile then: nothing is taken from it but digests, and no
more of them than a step can reasonably read. Whatever it names, chunks are verified as ever.
Door to msgspec for these records.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec

from lazybuild.errors import IntegrityError
from lazybuild.llb.graph import Vertex
from lazybuild.llb.ops import ExecOp, SourceOp
from lazybuild.worker.keys import fingerprint

MEDIA_TYPE = "application/vnd.lazybuild.access-profile.v1+json"
VERSION = 1
MAX_BYTES = 8 << 20
MAX_STEPS = 64
MAX_LAYERS = 128
MAX_CHUNKS = 32_768

Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
LayerDigest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
Chunks = Annotated[tuple[Hex, ...], msgspec.Meta(max_length=MAX_CHUNKS)]


class StepReads(msgspec.Struct, frozen=True, kw_only=True):
    """The hex digests of the chunks that one step read, in order, by layer. Any key finds it."""

    keys: Annotated[tuple[Hex, ...], msgspec.Meta(max_length=4)]
    layers: Annotated[dict[LayerDigest, Chunks], msgspec.Meta(max_length=MAX_LAYERS)]

    def count(self) -> int:
        return sum(len(chunks) for chunks in self.layers.values())

    def differs(self, other: "StepReads | None") -> bool:
        """Whether it names other chunks; their order may change from run to run."""
        return other is None or _sets(self.layers) != _sets(other.layers)


def _sets(layers: Mapping[str, tuple[str, ...]]) -> dict[str, set[str]]:
    return {digest: set(chunks) for digest, chunks in layers.items()}


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the steps over one base image."""

    version: int = VERSION
    steps: Annotated[tuple[StepReads, ...], msgspec.Meta(max_length=MAX_STEPS)] = ()

    def find(self, keys: Iterable[str]) -> StepReads | None:
        """The record of a step by the first of its keys that is known."""
        by_key = {key: step for step in reversed(self.steps) for key in step.keys}
        return next((by_key[key] for key in keys if key in by_key), None)

    def updated(self, steps: Iterable[StepReads]) -> "Profile":
        """With these steps in place of older records of the same, newest first, within bounds."""
        found: dict[str, StepReads] = {}
        for step in (*steps, *self.steps):
            found.setdefault(step.keys[0] if step.keys else "", step)
        return Profile(steps=tuple(_bounded(found.values())))


def _bounded(steps: Iterable[StepReads]) -> Iterator[StepReads]:
    left = MAX_CHUNKS
    for number, step in enumerate(steps):
        left -= step.count()
        if number >= MAX_STEPS or left < 0:
            return
        yield step


_profiles = msgspec.json.Decoder(Profile)
_layers = msgspec.json.Decoder(dict[str, tuple[str, ...]])


def parse(data: bytes) -> Profile:
    """A profile from outside. IntegrityError when it is not one of this version."""
    if len(data) > MAX_BYTES:
        raise IntegrityError(f"an access profile of {len(data)} bytes is too large")
    try:
        found = _profiles.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise IntegrityError(f"not an access profile: {error}") from error
    if found.version != VERSION:
        raise IntegrityError(f"an access profile of version {found.version}")
    return found


def encode(profile: Profile) -> bytes:
    return msgspec.json.encode(profile)


def encode_layers(layers: Mapping[str, tuple[str, ...]]) -> str:
    return msgspec.json.encode(layers).decode()


def parse_layers(text: str) -> dict[str, tuple[str, ...]]:
    """The opposite of `encode_layers`, for text of our own store."""
    return _layers.decode(text)


# --- names of steps ------------------------------------------------------------------------------


def keys_of(vertex: Vertex) -> tuple[str, ...]:
    """The step's definition; then, looser, its command over its base image."""
    base = base_of(vertex)
    if not isinstance(vertex.op, ExecOp) or base is None:
        return ()
    _, _, digest = base.identifier.rpartition("@")
    return vertex.digest.partition(":")[2], fingerprint(["step", digest, list(vertex.op.meta.args)])


def base_of(vertex: Vertex) -> SourceOp | None:
    """The image that a step's root file system began with."""
    op = list(root_chain(vertex))[-1].op
    if isinstance(op, SourceOp) and op.identifier.startswith("docker-image://"):
        return op
    return None


def root_chain(vertex: Vertex) -> Iterator[Vertex]:
    """The vertex, the one whose result it changed, and so on down to the first."""
    yield vertex
    while 0 <= (index := _root_input(vertex)) < len(vertex.inputs):
        vertex = vertex.inputs[index].vertex
        yield vertex


def _root_input(vertex: Vertex) -> int:
    if isinstance(vertex.op, ExecOp):
        return next((mount.input for mount in vertex.op.mounts if mount.dest == "/"), -1)
    return 0
