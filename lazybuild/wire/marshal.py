"""Bytes of a message that are the same every time, and for Op the same as Go's.

Go writes the plain fields of a message by number and its oneof last; other languages write strictly
by number. Op is the one message whose oneof is not numerically last, and its bytes are its name.
"""

import hashlib

from google.protobuf.message import Message

from lazybuild.wire.buildkit_frontend_protos.ops_pb2 import Op


def op_bytes(op: Op) -> bytes:
    """An op as BuildKit writes it: inputs, platform, constraints, then what it does."""
    kind = op.WhichOneof("op")
    if kind is None:
        return message_bytes(op)
    plain, chosen = Op(), Op()
    plain.CopyFrom(op)
    plain.ClearField(kind)
    getattr(chosen, kind).CopyFrom(getattr(op, kind))
    return message_bytes(plain) + message_bytes(chosen)


def message_bytes(message: Message) -> bytes:
    """Maps in the order of their keys."""
    return message.SerializeToString(deterministic=True)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
