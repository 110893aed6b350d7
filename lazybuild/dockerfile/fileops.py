"""Building one FileOp vertex: inputs numbered once each, actions chained, owners by name or number.

Input 0 is the file system that is changed (none for an empty one); sources follow. Pure.
"""

from lazybuild.llb.graph import Edge, Vertex, VertexOptions
from lazybuild.llb.ops import (
    NO_INPUT,
    NO_OUTPUT,
    Action,
    FileAction,
    FileOp,
    MkFileAction,
    Owner,
    User,
)

_ID_END = 2**31


class FileBuilder:
    """Collects actions over `base` and gives the vertex that does them in order."""

    def __init__(self, base: Edge | None) -> None:
        self._inputs: list[Edge] = [] if base is None else [base]
        self._actions: list[tuple[Action, int]] = []
        self.base = NO_INPUT if base is None else 0

    def add(self, action: Action, source: Edge | None = None) -> None:
        """`source` None is no source, or an empty one."""
        self._actions.append((action, NO_INPUT if source is None else self._number(source)))

    def _number(self, edge: Edge) -> int:
        if edge not in self._inputs:
            self._inputs.append(edge)
        return self._inputs.index(edge)

    def build(self, options: VertexOptions) -> Edge:
        count, last = len(self._inputs), len(self._actions) - 1
        actions = tuple(
            FileAction(
                action=action,
                input=self.base if index == 0 else count + index - 1,
                secondary_input=source,
                output=0 if index == last else NO_OUTPUT,
            )
            for index, (action, source) in enumerate(self._actions)
        )
        return Edge(Vertex(op=FileOp(actions=actions), inputs=tuple(self._inputs), options=options))


def owner(text: str, base: int) -> Owner | None:
    """`user[:group]`; names other than root are looked up in input `base`."""
    if not text:
        return None
    user, colon, group = text.partition(":")
    return Owner(user=_one(user, base), group=_one(group, base) if colon else None)


def _one(text: str, base: int) -> User:
    if text == "root":
        return User(id=0)
    if text.isascii() and text.isdigit() and int(text[:20]) < _ID_END:
        return User(id=int(text))
    return User(name=text, input=base)


def single_file(name: str, data: bytes, mode: int) -> Edge:
    """An otherwise empty tree that holds one file."""
    builder = FileBuilder(None)
    builder.add(MkFileAction(path=f"/{name}", mode=mode, data=data))
    return builder.build(VertexOptions(name="[internal] preparing inline document"))
