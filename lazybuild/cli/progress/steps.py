"""What every view has to know of the steps: number, name, times, the last lines. No output here."""

from collections import deque
from dataclasses import dataclass, field

from lazybuild.cli.progress.escape import one_line

TAIL_LINES = 20


@dataclass(slots=True)
class Step:
    """A vertex as the user sees it. `started` and `finished` are seconds since the epoch."""

    number: int
    name: str
    started: float
    finished: float = 0.0
    cached: bool = False
    error: str = ""
    pending: dict[int, bytes] = field(default_factory=dict)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    @property
    def seconds(self) -> float:
        return max(0.0, self.finished - self.started)

    def lines(self, stream: int, data: bytes) -> list[str]:
        """Take output in, give the lines that it completes, each as a terminal would show it: what
        stands before a carriage return has been written over.
        """
        *whole, rest = (self.pending.pop(stream, b"") + data).split(b"\n")
        if rest:
            self.pending[stream] = rest
        return self._keep(whole)

    def flush(self) -> list[str]:
        """The unfinished lines, when the step has ended."""
        rest = [self.pending.pop(stream) for stream in sorted(self.pending)]
        return self._keep(rest)

    def _keep(self, lines: list[bytes]) -> list[str]:
        shown = [line.rstrip(b"\r").rpartition(b"\r")[2] for line in lines]
        texts = [line.decode("utf-8", "replace") for line in shown]
        self.tail.extend(text for text in texts if text.strip())
        return texts


class Steps:
    """All steps of a build in the order in which they began."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def begin(self, vertex: str, name: str, time: float) -> Step:
        step = self._steps.get(vertex)
        if step is None:
            step = Step(number=len(self._steps) + 1, name=one_line(name), started=time)
            self._steps[vertex] = step
        return step

    def get(self, vertex: str) -> Step | None:
        return self._steps.get(vertex)

    def items(self) -> list[tuple[str, Step]]:
        return list(self._steps.items())

    def failed(self) -> Step | None:
        return next((step for step in self._steps.values() if step.error), None)
