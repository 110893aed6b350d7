"""Images into a running Docker or Podman, as `docker load` reads them, through its own command.

The archive is streamed and never stands on disk.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from typing import BinaryIO, cast

from lazybuild.errors import BuildError, HostError
from lazybuild.estargz.names import shown
from lazybuild.exporters import docker
from lazybuild.exporters.base import ExportedImage

COMMANDS = ("docker", "podman")


def export(image: ExportedImage, *, command: str = "") -> str:
    """Load the image; returns what the command said. `command` is a program, found by itself."""
    program = command or next((found for name in COMMANDS if (found := shutil.which(name))), "")
    if not program:
        raise HostError(
            "there is no docker or podman command to load the image with",
            hint="write an archive with -o type=docker,dest=FILE, or push it with --push",
        )
    return _fed(program, lambda out: docker.export(image, out))


def _fed(program: str, write: Callable[[BinaryIO], None]) -> str:
    """Run `PROGRAM load` with what `write` writes on its standard input."""
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                [program, "load"], stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise HostError(f"can't start {program}: {error.strerror}") from error
        broken = _write(process, write)
        status = process.wait()
        said.seek(0)
        text = said.read(64 << 10).decode(errors="replace").strip()
    if status or broken:
        last = shown(text.splitlines()[-1]) if text else "it took only part of the archive"
        raise BuildError(f"{program} load ended with status {status}: {last}")
    return text


def _write(process: "subprocess.Popen[bytes]", write: Callable[[BinaryIO], None]) -> bool:
    """Whether the process went away before it had everything; it is killed if we fail."""
    stdin = cast("BinaryIO", process.stdin)
    try:
        write(stdin)
        stdin.close()
    except BrokenPipeError:
        _drop(stdin)
        return True
    except BaseException:
        process.kill()
        _drop(stdin)
        process.wait()
        raise
    return False


def _drop(stdin: BinaryIO) -> None:
    """Close a pipe whose buffered rest nobody wants."""
    try:
        stdin.close()
    except BrokenPipeError:
        return
