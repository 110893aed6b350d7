"""A graph as JSON that people and other programs read, in the form of the reference's answer to
`frontend.convertllb` (moby/buildkit frontend/subrequests/convertllb): ops as protobuf's JSON by
digest, what is told of each, and the places in the Dockerfile that they come from. Pure.
"""

from google.protobuf.json_format import MessageToDict

from lazybuild.wire.buildkit_frontend_protos import ops_pb2 as pb
from lazybuild.wire.encode import Encoded
from lazybuild.wire.faults import Json
from lazybuild.wire.marshal import digest_of


def readable(graph: Encoded) -> dict[str, Json]:
    """Members `def`, `metadata` and `source`."""
    definition = graph.definition
    ops = {digest_of(data): pb.Op.FromString(data) for data in definition.ops}
    return {
        "def": {digest: MessageToDict(op) for digest, op in sorted(ops.items())},
        "metadata": {digest: _told(told) for digest, told in sorted(definition.metadata.items())},
        "source": MessageToDict(definition.source),
    }


def _told(told: pb.OpMetadata) -> dict[str, Json]:
    """As client/llb's OpMetadata: under other names than protobuf's, what is empty left out."""
    found: dict[str, Json] = {
        "ignore_cache": told.ignore_cache,
        "description": dict(sorted(told.description.items())),
        "caps": dict(sorted(told.caps.items())),
    }
    return {name: value for name, value in found.items() if value}
