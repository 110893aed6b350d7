"""A link with a bandwidth and a round-trip time, in user space: a TCP proxy on loopback.

    with Link(port, rtt=0.02, rate=50e6) as link: ...      # link.port, link.bytes_down()

What is modelled: one bottleneck for each direction, shared by all connections in turn, with a
buffer of `BUFFER` seconds; half the round trip each way; one round trip more for a handshake; TCP's
slow start from ten segments for each connection (no loss, no restart after idling). It needs no
root and no kernel module, unlike netem. Runs in a process of its own.
"""

import contextlib
import multiprocessing
import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass, field

BLOCK = 16 << 10
BUFFER = 0.01
INITIAL_WINDOW = 14_600
MAX_WINDOW = 6 << 20


class Link:
    """From the constructor to `close`."""

    def __init__(self, target: int, *, rtt: float, rate: float) -> None:
        context = multiprocessing.get_context("fork")
        self._count = context.Value("q", 0)
        ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, target, rtt, rate, self._count), daemon=True
        )
        self._process.start()
        self.port = ours.recv()

    def bytes_down(self) -> int:
        return int(self._count.value)

    def close(self) -> None:
        self._process.terminate()
        self._process.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _serve(pipe, target, rtt, rate, count):
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    pipe.send(listener.getsockname()[1])
    _Proxy(listener, target, rtt, rate, count).run()


@dataclass(eq=False)
class Half:
    """One direction of a connection: bytes are read from `source` and leave through `sink`."""

    source: socket.socket
    sink: socket.socket
    down: bool
    ready_at: float = 0.0
    window: int = INITIAL_WINDOW
    in_flight: int = 0
    out: bytearray = field(default_factory=bytearray)
    readable: bool = False
    ended: bool = False


class _Proxy:
    """One thread, one loop. Every queue is in the order of its times."""

    def __init__(self, listener, target, rtt, rate, count):
        self.listener, self.target, self.rtt, self.rate = listener, target, rtt, rate
        self.count = count
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, None)
        self.halves: dict[socket.socket, tuple[Half, Half]] = {}
        self.turn: deque[Half] = deque()
        self.free = {True: 0.0, False: 0.0}
        self.flying: dict[bool, deque] = {True: deque(), False: deque()}
        self.acks: dict[bool, deque] = {True: deque(), False: deque()}
        self.waiting: list[Half] = []

    def run(self):
        listener = self.listener
        listener.setblocking(False)
        while True:
            for key, events in self.selector.select(self.pause()):
                if key.fileobj is listener:
                    self.accept()
                else:
                    self.event(key.fileobj, events)
            now = time.monotonic()
            self.deliver(now)
            self.pump(now)

    def pause(self):
        """Seconds until something is due; None when only sockets can wake us."""
        now = time.monotonic()
        due = [queue[0][0] for queue in (*self.flying.values(), *self.acks.values()) if queue]
        due += [
            max(half.ready_at, self.free[half.down] - BUFFER)
            for half in self.turn
            if half.in_flight < half.window
        ]
        return max(0.0, min(due) - now) if due else None

    def accept(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.target))
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up = Half(client, server, down=False, ready_at=time.monotonic() + self.rtt)
        down = Half(server, client, down=True)
        self.halves[client], self.halves[server] = (up, down), (down, up)
        self.selector.register(client, selectors.EVENT_READ)
        self.selector.register(server, selectors.EVENT_READ)

    def event(self, end, events):
        if end not in self.halves:
            return
        reading, writing = self.halves[end]
        if events & selectors.EVENT_READ:
            reading.readable = True
            self.turn.append(reading)
            self.watch(end)
        if events & selectors.EVENT_WRITE:
            self.flush(writing)

    def watch(self, end):
        """Ask the selector for what can go on: reading unless it waits for its turn."""
        if end not in self.halves:
            return
        reading, writing = self.halves[end]
        wanted = 0 if reading.readable or reading.ended else selectors.EVENT_READ
        wanted |= selectors.EVENT_WRITE if writing.out else 0
        with contextlib.suppress(KeyError):
            self.selector.unregister(end)
        if wanted:
            self.selector.register(end, wanted)

    def pump(self, now):
        """Let each connection that has data, and may send, put one block on the link in turn."""
        for _ in range(len(self.turn)):
            half = self.turn.popleft()
            free = self.free[half.down]
            blocked = half.in_flight >= half.window or half.ready_at > now
            if blocked or free > now + BUFFER:
                self.turn.append(half)
                continue
            self.take(half, now)

    def take(self, half, now):
        try:
            data = half.source.recv(min(BLOCK, half.window - half.in_flight))
        except BlockingIOError:
            half.readable = False
            self.watch(half.source)
            return
        except OSError:
            data = b""
        self.free[half.down] = max(self.free[half.down], now) + len(data) / self.rate
        self.flying[half.down].append((self.free[half.down] + self.rtt / 2, half, data))
        half.in_flight += len(data)
        if data:
            self.turn.append(half)
        else:
            half.readable, half.ended = False, True
            self.watch(half.source)

    def deliver(self, now):
        for down, flying in self.flying.items():
            while flying and flying[0][0] <= now:
                due, half, data = flying.popleft()
                self.arrive(half, data)
                self.acks[down].append((due + self.rtt / 2, half, len(data)))
            acks = self.acks[down]
            while acks and acks[0][0] <= now:
                _, half, size = acks.popleft()
                half.in_flight -= size
                half.window = min(half.window + size, MAX_WINDOW)

    def arrive(self, half, data):
        if half.down:
            self.count.value += len(data)
        if not data:
            self.finish(half)
            return
        half.out += data
        self.flush(half)

    def flush(self, half):
        try:
            sent = half.sink.send(half.out)
        except BlockingIOError:
            sent = 0
        except OSError:
            half.out.clear()
            return
        del half.out[:sent]
        self.watch(half.sink)

    def finish(self, half):
        """One side has ended; both sockets are closed once both have."""
        with contextlib.suppress(OSError):
            half.sink.shutdown(socket.SHUT_WR)
        other = self.halves.get(half.sink, (None, None))[0]
        if other is None or not other.ended:
            return
        for end in (half.sink, half.source):
            with contextlib.suppress(KeyError):
                self.selector.unregister(end)
            self.halves.pop(end, None)
            end.close()
