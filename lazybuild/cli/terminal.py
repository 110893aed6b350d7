"""A terminal for a command: a pseudoterminal of its own, tied to the one that we are started on.

While it is tied, ours is raw, so that ^C and all other keys reach the command. Thread rule: one
thread of this module carries bytes until the command has let go of its end.
"""

import contextlib
import fcntl
import os
import pty
import select
import signal
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

BLOCK = 64 * 1024
PAUSE = 0.1


@contextmanager
def tied(source: int = 0, target: int = 1) -> Iterator[int]:
    """The command's end of a new terminal; what it writes goes to `target`, keys of `source` in."""
    ours, theirs = pty.openpty()
    finished = threading.Event()
    carrier = threading.Thread(target=_carry, args=(ours, source, target, finished), daemon=True)
    try:
        with _followed_size(source, ours), _raw(source):
            carrier.start()
            try:
                yield theirs
            finally:
                os.close(theirs)
                finished.set()
                carrier.join()
    finally:
        os.close(ours)


@contextmanager
def _raw(source: int) -> Iterator[None]:
    before = termios.tcgetattr(source)
    tty.setraw(source, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)


@contextmanager
def _followed_size(source: int, ours: int) -> Iterator[None]:
    """Give the new terminal the size of the old one, now and whenever that changes."""

    def follow(number: int, frame: FrameType | None) -> None:
        del number, frame
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(ours, termios.TIOCSWINSZ, size)

    follow(signal.SIGWINCH, None)
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may be told of signals
        return
    before = signal.signal(signal.SIGWINCH, follow)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _carry(ours: int, source: int, target: int, finished: threading.Event) -> None:
    """Both ways, until the command's end is closed by all who had it and read to its last byte."""
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    poll.register(source, select.POLLIN)
    while True:
        ready = dict(poll.poll(PAUSE * 1000))
        if ours in ready and not _pass(ours, target):
            return
        if source in ready and not _pass(source, ours):
            poll.unregister(source)
        if not ready and finished.is_set():
            return


def _pass(source: int, target: int) -> bool:
    """Carry what is there; False at the end. A terminal that all have closed says EIO."""
    data = b""
    with contextlib.suppress(OSError):
        data = os.read(source, BLOCK)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]
    return bool(data)
