"""How long the frontend takes from its start to its first question, and to its answer.

    PYTHONPATH=.:tests python bench/frontend_start.py [--runs N] [--image ROOT]

The other side is LLBBridge out of tables (tests/support/bridge.py), so no time of BuildKit's is in
it. With --image the program runs by chroot in an unpacked frontend image (needs root). Prints JSON.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from support.bridge import Bridge

FILES = {"dockerfile": {"Dockerfile": b"FROM scratch\nCOPY a /\n"}}
SOURCES = Path(__file__).parent.parent
IN_IMAGE = {"PYTHONPATH": "/opt/app:/opt/site", "PYTHONDONTWRITEBYTECODE": "1"}


class Watch(Bridge):
    """Notes when the first question comes."""

    first = 0.0

    def on_ping(self, request, context):
        self.first = time.monotonic()
        return super().on_ping(request, context)


def command(image: str) -> tuple[list[str], dict[str, str]]:
    if image:
        return ["chroot", image, "/usr/bin/python3", "-m", "frontend"], IN_IMAGE
    return [sys.executable, "-m", "frontend"], {"PYTHONPATH": str(SOURCES)}


def run(image: str) -> tuple[float, float]:
    """Seconds to the first question and to the end."""
    words, environment = command(image)
    with Watch(FILES) as bridge:
        host, _, port = bridge.target.rpartition(":")
        with socket.create_connection((host, int(port))) as wire:
            started = time.monotonic()
            subprocess.run(
                words,
                env={"PATH": os.environ["PATH"], **environment},
                stdin=wire.fileno(),
                stdout=wire.fileno(),
                check=True,
            )
            ended = time.monotonic()
    return bridge.first - started, ended - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--image", default="")
    given = parser.parse_args()
    run(given.image)  # warms the caches
    pairs = [run(given.image) for _ in range(given.runs)]
    first, whole = (statistics.median(times) for times in zip(*pairs, strict=True))
    found = {"runs": given.runs, "first_rpc_seconds": first, "whole_seconds": whole}
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
