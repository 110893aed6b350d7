"""The process of the lazy file system: `python -m lazybuild.snapshots.lazyfs.daemon FD`.

Owns the socket to the process that started it. One line is one request, each is answered from a
thread of its own, so that a slow one stops none. When the other end is closed, whatever the cause,
the daemon unmounts and ends: that is its only life line, and it works for SIGKILL as well. (A
parent-death signal would not: the kernel sends it when the *thread* that started us ends.)
"""

import os
import socket
import sys
import threading

from lazybuild.linux.shortage import hush_threads
from lazybuild.linux.workers import Workers
from lazybuild.snapshots.lazyfs import messages
from lazybuild.snapshots.lazyfs.layer import LazyLayer
from lazybuild.snapshots.lazyfs.messages import Reply, Request
from lazybuild.snapshots.lazyfs.service import Service

_WORKERS = 16


class Daemon:
    """Reads requests until there are no more."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._sending = threading.Lock()
        self._service: Service | None = None
        self._workers = Workers(_WORKERS, "lazyfs-control")

    def run(self) -> None:
        try:
            with self._control.makefile("rb") as lines:
                for line in lines:
                    request = messages.decode_request(line)
                    if isinstance(request.body, messages.Close):
                        break
                    self._take(request)
        finally:
            if self._service is not None:
                self._service.close()

    def _take(self, request: Request) -> None:
        if isinstance(request.body, messages.Start):
            self._answer(request)  # nothing can be done before it is done
        else:
            self._workers.do(self._answer, request)

    def _answer(self, request: Request) -> None:
        try:
            reply = self._do(request)
        except Exception as error:  # noqa: BLE001  goes to the client, who knows what it means
            reply = Reply(id=request.id, fault=messages.fault(error))
        self._send(reply)

    def _do(self, request: Request) -> Reply:
        if isinstance(request.body, messages.Start):
            self._service = Service(request.body, self._failed, self._note)
            return Reply(id=request.id)
        if self._service is None:
            raise RuntimeError("not started")
        return _perform(self._service, request)

    def _failed(self, layer: LazyLayer, path: bytes, error: Exception) -> None:
        """A read was answered with EIO: the build must know the reason."""
        name = path.decode("utf-8", "backslashreplace")
        self._send(Reply(id=0, fault=messages.fault(error), digest=layer.digest, name=name))

    def _note(self, text: str) -> None:
        self._send(Reply(id=0, note=text))

    def _send(self, reply: Reply) -> None:
        with self._sending:
            try:
                self._control.sendall(messages.encode(reply))
            except OSError:
                return  # nobody listens any more; `run` sees the end as well


def _perform(service: Service, request: Request) -> Reply:  # noqa: C901, PLR0911  one for each request
    number = request.id
    match request.body:
        case messages.Add() as ask:
            path, reason = service.add(ask)
            return Reply(id=number, path=path, reason=reason)
        case messages.Prefetch() as ask:
            return Reply(id=number, number=service.prefetch(ask))
        case messages.Settle(seconds=seconds):
            return Reply(id=number, number=int(service.settle(seconds)))
        case messages.Probe(digest=digest):
            service.probe(digest)
            return Reply(id=number)
        case messages.Whole(digest=digest):
            return Reply(id=number, path=service.whole(digest))
        case messages.ChunksRead(digest=digest):
            return Reply(id=number, chunks=service.chunks_read(digest))
        case messages.Journal(digest=digest):
            return Reply(id=number, journal=service.journal(digest))
        case messages.Stats():
            return Reply(id=number, layers=service.stats())
        case messages.Trace(start=start):
            return Reply(id=number, trace=service.trace(start))
        case messages.Ping():
            return Reply(id=number, oldest=service.oldest())
    raise RuntimeError(f"no answer for {type(request.body).__name__}")


def main() -> None:
    hush_threads()
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        Daemon(control).run()
    finally:
        # Threads may be waiting for a registry: they hold nothing that outlives the process.
        os._exit(0)


if __name__ == "__main__":
    main()
