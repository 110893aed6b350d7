"""Keeps the values of build arguments that look like secrets out of all that a build says."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from lazybuild.dockerfile import sensitive
from lazybuild.errors import LazybuildError
from lazybuild.events import Event, Noted, Sink, VertexDone, VertexLog, VertexStarted, Warned
from lazybuild.request import BuildRequest


class Veil:
    """A sink before another one; as a context manager it covers errors, too.

    A value that a step prints in two pieces is not recognised.
    """

    def __init__(self, requests: Sequence[BuildRequest], sink: Sink) -> None:
        self._hidden = sensitive.values([request.build_args for request in requests])
        self._sink = sink

    def __call__(self, event: Event) -> None:
        self._sink(self._covered(event) if self._hidden else event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LazybuildError):
            error.message, error.hint = self._text(error.message), self._text(error.hint)

    def _text(self, text: str) -> str:
        return sensitive.hide(text, self._hidden)

    def _covered(self, event: Event) -> Event:
        match event:
            case VertexStarted():
                return replace(event, name=self._text(event.name))
            case VertexDone():
                return replace(event, name=self._text(event.name), error=self._text(event.error))
            case Warned():
                detail = tuple(map(self._text, event.detail))
                return replace(event, message=self._text(event.message), detail=detail)
            case Noted():
                return replace(event, message=self._text(event.message))
            case VertexLog():
                return replace(event, data=self._bytes(event.data))
            case _:
                return event

    def _bytes(self, data: bytes) -> bytes:
        for value in self._hidden:
            data = data.replace(value.encode(), sensitive.HIDDEN.encode())
        return data
