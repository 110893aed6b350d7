"""Runs a command line that is killed at a chosen place: `python killed.py WHAT ARGUMENT...`.

WHAT is `list:FILE`, which writes a line each time that our code makes something visible, with the
place and how often it was come to; or `kill:LINE`, which is kill -9 then, before the call is made.
"""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

CALLS = ("rename", "link", "replace")
counts = Counter()
OURS = "/lazybuild/"


def places(builder, words):
    """What a command comes along, in order."""
    listing = builder.folder / "places"
    builder.folder.mkdir(exist_ok=True)
    listing.unlink(missing_ok=True)
    code = run(builder, f"list:{listing}", words)
    assert code == 0, code
    seen = listing.read_text().splitlines()
    return [place for place in seen if "executor/" not in place]  # trials of the host, in children


def killed_at(builder, place, words):
    """The exit code of the command that is killed there."""
    return run(builder, f"kill:{place}", words)


def run(builder, what, words):
    command = [sys.executable, "-P", __file__, what, *map(str, words)]
    ended = subprocess.run(
        command, env=builder.environment, capture_output=True, timeout=120, check=False
    )
    return ended.returncode


def watch(note):
    for name in CALLS:
        setattr(os, name, noted(getattr(os, name), name, note))


def noted(real, name, note):
    def call(*args, **keywords):
        place = f"{name} {ours(sys._getframe(1))}"
        counts[place] += 1
        note(f"{place} #{counts[place]}")
        return real(*args, **keywords)

    return call


def ours(frame):
    """The innermost place in our own code."""
    while frame is not None and OURS not in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is None:
        return "elsewhere"
    return f"{frame.f_code.co_filename.partition(OURS)[2]}:{frame.f_lineno}"


def die(place, wanted):
    if place == wanted:
        os.kill(os.getpid(), signal.SIGKILL)


def main(what, *words):
    way, _, rest = what.partition(":")
    if way == "list":
        listing = Path(rest).open("a", buffering=1)  # noqa: SIM115 - as long as the process
        watch(lambda place: listing.write(place + "\n"))
    else:
        watch(lambda place: die(place, rest))
    from lazybuild.cli.main import main as lazybuild  # noqa: PLC0415 - sees the watched calls

    lazybuild(list(words))


if __name__ == "__main__":
    main(*sys.argv[1:])
