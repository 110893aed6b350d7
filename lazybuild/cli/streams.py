"""The standard streams a process may have been started without, or whose readers may go away.

A descriptor that is free here would be given to a file of the store, into which messages would
then be written. Who stops listening to the progress has not asked for the build to stop.
"""

import contextlib
import io
import os
import sys

STANDARD = (0, 1, 2)


def settle() -> None:
    """Have all three streams, and a standard error that can always be written to."""
    missing = [number for number in STANDARD if _occupy(number)]
    if 0 in missing or sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a descriptor, kept
    if 1 in missing or sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - a descriptor, kept
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(Unbroken(2, "w", closefd=False)),
        encoding=getattr(sys.stderr, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def flush() -> None:
    """Write what is left, as far as somebody takes it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()


def _occupy(number: int) -> bool:
    """Open /dev/null in the place of a closed descriptor; children inherit it."""
    try:
        os.fstat(number)
    except OSError:
        found = os.open(os.devnull, os.O_RDWR)
        os.dup2(found, number)  # inheritable, and harmless where they are the same
        os.set_inheritable(number, True)
        if found != number:
            os.close(found)
        return True
    return False


class Unbroken(io.FileIO):
    """Goes to /dev/null once nobody reads it any more."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # whatever a buffer hands down
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return super().write(data)  # type: ignore[arg-type]  # as above
