"""A frontend's process: one sandboxed step whose standard input and output are the way to us."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from lazybuild.bridge.answers import Bridge
from lazybuild.bridge.conversation import Conversation
from lazybuild.errors import BuildError
from lazybuild.executor import run as executor
from lazybuild.executor.run import Stdio
from lazybuild.executor.spec import FileMount, StepSpec
from lazybuild.solver.once import StoppedError
from lazybuild.wire import bridge as wire
from lazybuild.wire.gateway import Outcome

OWN_IMAGE = "/run/config/buildkit/metadata/frontend.bin"
MAX_SHOWN = 2000


class _Until(threading.Event):
    """Set when the build is stopped, or when the frontend has been waited for long enough."""

    def __init__(self, stop: threading.Event, talk: Conversation) -> None:
        super().__init__()
        self._stop = stop
        self._talk = talk

    def is_set(self) -> bool:
        return self._stop.is_set() or bool(self._talk.complaint())


def with_own_image(spec: StepSpec, definition: bytes) -> StepSpec:
    """The step with the graph of its own image in the place where BuildKit has it."""
    mount = FileMount(dest=OWN_IMAGE, data=definition, mode=0o444, readonly=True)
    return replace(spec, mounts=(*spec.mounts, mount))


def converse(
    spec: StepSpec,
    bridge: Bridge,
    talk: Conversation,
    stop: threading.Event,
    *,
    name: str,
    let_go: Callable[[], None],
    listen: Callable[[int, bytes], None],
) -> Outcome:
    """Run a frontend to its end; what it handed back. `let_go` ends what it may have under way.

    Raises what it failed with, and a BuildError that names it when it does not do its part.
    """
    tail = _Tail(listen)
    with wire.served(bridge) as door:
        try:
            ended = executor.run(spec, tail, _Until(stop, talk), Stdio(stdin=door, stdout=door))
        finally:
            let_go()
    if stop.is_set():
        raise StoppedError("cancelled")
    if talk.bug is not None:
        raise talk.bug
    if bridge.error is not None:
        raise bridge.error
    if ended.cancelled:
        raise BuildError(f"the frontend {name} {talk.complaint()}", hint=tail.shown())
    if ended.status or bridge.outcome is None:
        how = f"failed: {ended}" if ended.status else "ended without a result"
        raise BuildError(f"the frontend {name} {how}", hint=_told(talk, tail))
    return bridge.outcome


def _told(talk: Conversation, tail: "_Tail") -> str:
    """What may explain it."""
    last = f"the last thing it was told is: {talk.failures[-1].message}" if talk.failures else ""
    return "\n".join(text for text in (last, tail.shown()) if text)


class _Tail:
    """Hands on what a frontend says to people, and keeps the end of it."""

    def __init__(self, listen: Callable[[int, bytes], None]) -> None:
        self._listen = listen
        self._kept = b""

    def __call__(self, stream: int, data: bytes) -> None:
        self._kept = (self._kept + data)[-MAX_SHOWN:]
        self._listen(stream, data)

    def shown(self) -> str:
        """The last line: all of it stands above, where the progress is."""
        lines = self._kept.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"it said: {last}" if last else ""


def environment(
    image: tuple[str, ...], options: Mapping[str, str], told: Mapping[str, str]
) -> dict[str, str]:
    """The image's variables, the options each under a number, and what else BuildKit tells."""
    own = dict(item.split("=", 1) for item in image if "=" in item)
    pairs = sorted(options.items())
    numbered = {
        f"BUILDKIT_FRONTEND_OPT_{number}": f"{name}={value}"
        for number, (name, value) in enumerate(pairs)
    }
    return {**own, **numbered, **told}
