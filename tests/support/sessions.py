"""A daemon's end of a session: what a BuildKit can ask of the client that has built with it.

with Daemon() as daemon, open_channel(daemon.target) as channel:
    with Session(Control(channel), offers):
        daemon.metadata(), daemon.channel()      # the calls go to `offers`
"""

import os
import queue
import threading
from concurrent import futures
from contextlib import suppress

import grpc

from lazybuild.wire.buildkit_frontend_protos import control_pb2 as pb
from lazybuild.wire.calls import open_channel
from lazybuild.wire.control import SERVICE
from lazybuild.wire.pump import PipedSocket

PIECE = 32 << 10


class Daemon:
    def __init__(self):
        self._sessions = queue.Queue()

    def __enter__(self):
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        handler = grpc.stream_stream_rpc_method_handler(
            self.on_session,
            request_deserializer=pb.BytesMessage.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        handlers = {"Session": handler}
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None)

    def on_session(self, requests, context):
        """Bytes of the client's server into one pipe, what is asked of it out of another."""
        from_client, to_us = os.pipe()
        from_us, to_client = os.pipe()
        piped = PipedSocket(from_client, to_client)
        over = threading.Event()
        self._sessions.put((dict(context.invocation_metadata()), piped.target))

        def inward():
            with suppress(grpc.RpcError, OSError):
                for message in requests:
                    os.write(to_us, message.data)
            os.close(to_us)
            over.set()
            os.write(to_client, b"\0")  # wakes the reader below, which would wait for ever

        threading.Thread(target=inward, daemon=True).start()
        while (data := os.read(from_us, PIECE)) and not over.is_set():
            yield pb.BytesMessage(data=data)

    def session(self):
        """The metadata of the session that was opened, and a channel into it."""
        metadata, target = self._sessions.get(timeout=10)
        return metadata, open_channel(target)
