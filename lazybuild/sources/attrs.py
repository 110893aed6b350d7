"""Attributes of a source op as values. Pure; the JSON door of this room."""

from collections.abc import Mapping

import msgspec

from lazybuild.errors import BuildError
from lazybuild.llb.ops import SourceOp

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_texts = msgspec.json.Decoder(tuple[str, ...])
_pairs = msgspec.json.Decoder(dict[str, str])


class Attrs:
    """The attributes by name; a missing one is empty."""

    def __init__(self, op: SourceOp) -> None:
        self._found = dict(op.attrs)

    def text(self, name: str) -> str:
        return self._found.get(name, "")

    def flag(self, name: str) -> bool:
        return self.text(name) in _TRUE

    def texts(self, name: str) -> tuple[str, ...]:
        """A JSON list of strings."""
        try:
            return _texts.decode(self.text(name) or "[]")
        except msgspec.MsgspecError as error:
            raise BuildError(f"attribute {name} is not a list of strings") from error

    def number(self, name: str, default: int, *, base: int = 10) -> int:
        try:
            return int(self.text(name), base) if self.text(name) else default
        except ValueError as error:
            raise BuildError(f"attribute {name} is not a number") from error


def encode_pairs(pairs: Mapping[str, str]) -> str:
    return msgspec.json.encode(dict(pairs), order="sorted").decode()


def decode_pairs(text: str) -> Mapping[str, str]:
    """What `encode_pairs` wrote; nothing if it is something else."""
    try:
        return _pairs.decode(text)
    except msgspec.MsgspecError:
        return {}
