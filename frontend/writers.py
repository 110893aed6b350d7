"""The steps that write the layers of a result: one that ranks files, then one for each layer. Pure.

The steps that write read only their own part of the ranking, by content, so that a layer is written
anew only when it, or what comes first in it, has changed.
"""

import json
from dataclasses import dataclass

from frontend.layers import Stack
from frontend.orders import Orders, to_json
from frontend.places import LOWER, OUT, RANKED, TOPS, TRACES, UPPER
from frontend.tool import Tool
from lazybuild.llb.graph import Edge, Vertex
from lazybuild.llb.ops import Mount

INTO = Mount(dest=OUT, output=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all layers of a result have in common."""

    tool: Tool
    orders: Orders
    traces: tuple[Edge, ...] = ()
    epoch: int | None = None

    def writers(self, found: Stack) -> list[Edge]:
        """For each layer the step that writes it."""
        ranking = Edge(self._ranking(found), INTO.output)
        pairs = zip(found.below, found.tops, strict=True)
        return [
            Edge(self._writer(ranking, pair, number, len(found.tops)), INTO.output)
            for number, pair in enumerate(pairs, 1)
        ]

    def _ranking(self, found: Stack) -> Vertex:
        first = 0 if found.base is not None else 1
        tops = found.tops if found.base is None else (found.base, *found.tops)
        places = [f"{TOPS}/{number}" for number in range(first, first + len(tops))]
        places += [f"{TRACES}/{number}" for number in range(len(self.traces))]
        mounts = [Mount(dest=place, input=number) for number, place in enumerate(places, 1)]
        argv = self.tool.argv("frontend.rank", to_json(self.orders))
        name = "[lazybuild] find what is read first"
        return self.tool.step(argv, [*mounts, INTO], (*tops, *self.traces), name)

    def _writer(
        self, ranking: Edge, pair: tuple[Edge | None, Edge], number: int, count: int
    ) -> Vertex:
        below, top = pair
        inputs = (ranking, top) if below is None else (ranking, top, below)
        places = (UPPER, LOWER)[: len(inputs) - 1]
        mounts = [
            Mount(dest=RANKED, input=1, selector=f"/{number}", readonly=True),
            *(Mount(dest=place, input=index) for index, place in enumerate(places, 2)),
            INTO,
        ]
        argv = self.tool.argv("frontend.convert", json.dumps({"epoch": self.epoch}))
        name = f"[lazybuild {number}/{count}] write the layer as eStargz"
        return self.tool.step(argv, mounts, inputs, name)
