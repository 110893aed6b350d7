"""Gives the results of a build the form in which they are handed back: exact, hot or plain.

What is forced happens or fails. What is not is the best that this BuildKit allows, and a warning
says what was in the way of more.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from frontend import hot, orders, output, trace
from frontend.options import Options
from frontend.output import Output
from frontend.tool import Tool
from lazybuild.dockerfile.options import Compiled
from lazybuild.errors import UsageError
from lazybuild.llb.graph import Edge
from lazybuild.snapshots import elf
from lazybuild.wire.decode import decode_bytes
from lazybuild.wire.encode import Style
from lazybuild.wire.gateway import Gateway

OWN_IMAGE = Path("/run/config/buildkit/metadata/frontend.bin")
NO_IMAGE = "BuildKit does not say which image this frontend is, so it can't run in a step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranger:
    """`warn` shows a line to the user."""

    gateway: Gateway
    options: Options
    style: Style
    warn: Callable[[str], object]

    def arrange(self, made: tuple[Compiled, ...]) -> tuple[Compiled, ...]:
        """The same results; their steps may be watched, their layers written anew."""
        args = self.options.build_args
        forced = output.asked(args, self.gateway.offer)
        if forced is Output.PLAIN or all(result.head is None for result in made):
            return made
        tool = self._tool()
        if tool is None:
            return self._without_image(made, forced)
        watched = [self._watched(result, tool) for result in made]
        if forced is Output.HOT:
            self.warn(hot.ADVICE)
        elif (found := self._exact(watched, tool, forced)) is not None:
            return found
        return tuple(self._hot(result, traces, tool) for result, traces in watched)

    def _tool(self) -> Tool | None:
        """Our own image, as BuildKit says where it came from."""
        if not OWN_IMAGE.exists():
            return None
        root = decode_bytes(OWN_IMAGE.read_bytes())
        return installed(root, self.options.own_env) if root else None

    def _without_image(
        self, made: tuple[Compiled, ...], forced: Output | None
    ) -> tuple[Compiled, ...]:
        if forced is not None:
            raise UsageError(f"{output.MODE}={forced}: {NO_IMAGE}")
        self.warn(f"{NO_IMAGE}; the files of the image are in no order")
        return made

    def _watched(self, result: Compiled, tool: Tool) -> tuple[Compiled, Sequence[Edge]]:
        if result.head is None or not output.traced(self.options.build_args):
            return result, ()
        head, traces = trace.watched(result.head, tool, is_sorted=result.epoch is not None)
        return replace(result, head=head), traces

    def _exact(
        self,
        watched: Sequence[tuple[Compiled, Sequence[Edge]]],
        tool: Tool,
        forced: Output | None,
    ) -> tuple[Compiled, ...] | None:
        """None where it can't be, and need not."""
        from frontend.exact import Exporter, UnreachableError  # noqa: PLC0415  slow to load

        found = output.reach(self.gateway.offer, self.options.network)
        obstacle = found.obstacle
        if not obstacle:
            exporter = Exporter(
                gateway=self.gateway,
                tool=tool,
                style=self.style,
                imports=self.options.cache_imports,
                network=found.network,
            )
            try:
                return tuple(
                    exporter.export(result, self._orders(result), traces)
                    for result, traces in watched
                )
            except UnreachableError as error:
                obstacle = error.message
        if forced is not None:
            raise UsageError(f"{output.MODE}={forced}: {obstacle}", hint=output.HINT)
        self.warn(f"{obstacle}; {hot.ADVICE}")
        return None

    def _hot(self, result: Compiled, traces: Sequence[Edge], tool: Tool) -> Compiled:
        if result.head is None:
            return result
        wanted = self._orders(result)
        head, config = hot.ordered(result.head, result.config, tool, wanted, traces)
        return replace(result, head=head, config=config)

    def _orders(self, result: Compiled) -> orders.Orders:
        return orders.of_image(result.config, self.options.build_args)


def installed(root: Edge, env: tuple[str, ...]) -> Tool:
    """How our programs are started, seen from inside the image `root`, where this one runs."""
    python = str(Path(sys.executable).resolve())  # links would lead out of the directory
    with Path(python).open("rb") as program:
        needs = elf.needs(lambda offset, length: os.pread(program.fileno(), length, offset))
    architecture = getattr(sys.implementation, "_multiarch", "")
    return Tool(
        root=root,
        python=python,
        env=env,
        app=str(Path(__file__).parents[1]),
        loader=str(Path(needs.interpreter).resolve()) if needs else "",
        libraries=tuple(f"{place}/{architecture}" for place in ("/lib", "/usr/lib")),
    )
