"""Programs that a frontend has BuildKit run beside the build, over refs.

One container, one process without input; what it says on its standard output comes in lines. It
is killed when it is no longer wanted. Needs the capability `gateway.exec`.
"""

import contextlib
import queue
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lazybuild.errors import IntegrityError
from lazybuild.llb.ops import NetworkMode
from lazybuild.wire.buildkit_frontend_protos import gateway_pb2 as pb
from lazybuild.wire.buildkit_frontend_protos import ops_pb2
from lazybuild.wire.calls import Caller
from lazybuild.wire.encode_ops import NETWORKS
from lazybuild.wire.faults import RemoteError, status

CAPABILITY = "gateway.exec"
STDOUT, STDERR = 1, 2
MAX_LINE = 1 << 16
MAX_SAID = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What runs: `mounts` are (directory, ref), the root "/" among them; `name` is for errors."""

    name: str
    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    mounts: Sequence[tuple[str, str]]
    network: NetworkMode = NetworkMode.UNSET


@contextmanager
def running(caller: Caller, program: Program) -> Iterator["Process"]:
    """The process, while it runs; it and its container are gone afterwards."""
    name = secrets.token_hex(16)
    request = pb.NewContainerRequest(
        ContainerID=name,
        Mounts=[
            ops_pb2.Mount(dest=dest, resultID=ref, input=-1, readonly=dest != "/")
            for dest, ref in program.mounts
        ],
        Network=NETWORKS[program.network],
    )
    caller.call("NewContainer", request, pb.NewContainerResponse)
    process = Process(caller, name, program)
    try:
        yield process
    finally:
        release = pb.ReleaseContainerRequest(ContainerID=name)
        with contextlib.suppress(RemoteError):  # says that the process was killed
            caller.call("ReleaseContainer", release, pb.ReleaseContainerResponse)
        process.forget()


class Process:
    """Hears one program over ExecProcess. Raises RemoteError where it ends by itself."""

    def __init__(self, caller: Caller, container: str, program: Program) -> None:
        self._program = program.name
        self._said = b""
        self._asked: queue.SimpleQueue[pb.ExecMessage | None] = queue.SimpleQueue()
        meta = ops_pb2.Meta(args=program.argv, env=program.env, cwd="/")
        init = pb.InitMessage(ContainerID=container, Meta=meta, Fds=[STDOUT, STDERR])
        self._asked.put(pb.ExecMessage(ProcessID=secrets.token_hex(16), Init=init))
        requests = iter(self._asked.get, None)
        self._answers = caller.talk("ExecProcess", requests, pb.ExecMessage)

    def line(self) -> str:
        """The next line that it writes, without its end."""
        found = b""
        for data in self._output():
            found += data
            if b"\n" in found:
                return found.partition(b"\n")[0].decode("utf-8", "replace")
            if len(found) > MAX_LINE:
                raise IntegrityError(f"{self._program}: a line without an end")
        said = self._said[-MAX_SAID:].decode("utf-8", "replace").strip()
        message = f"{self._program} ended" + (f": {said}" if said else "")
        raise RemoteError(message, status=status(message))

    def forget(self) -> None:
        """Nothing more is asked."""
        self._asked.put(None)

    def _output(self) -> Iterator[bytes]:
        """What it writes, to its end. What is meant for people is kept for an error."""
        for answer in self._answers:
            match answer.WhichOneof("Input"):
                case "File" if answer.File.Fd == STDOUT:
                    yield answer.File.Data
                case "File":
                    self._said = (self._said + answer.File.Data)[-MAX_SAID:]
                case "Exit" if answer.Exit.HasField("Error"):
                    ending = answer.Exit.Error.message.encode()
                    self._said = self._said.rstrip(b"\n") + b"\n" + ending
                case "Done":
                    return
