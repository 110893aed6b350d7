"""FileOp of the graph: actions over trees, and the layer that comes out. An engine.

Reads trees and makes a `Draft`; touches no file system. What an action does to links, parents and
owners is what BuildKit's solver/llbsolver/file/backend.go does.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Item, Kind
from lazybuild.llb.ops import (
    NO_INPUT,
    CopyAction,
    FileAction,
    FileOp,
    MkDirAction,
    MkFileAction,
    Owner,
    RmAction,
    SymlinkAction,
    User,
)
from lazybuild.snapshots import paths
from lazybuild.snapshots.archive import Rules, Target, lay_out
from lazybuild.snapshots.copy import Copier
from lazybuild.snapshots.draft import Data, Draft, make_directories
from lazybuild.snapshots.owners import Ids, ids_of
from lazybuild.snapshots.select import expand
from lazybuild.snapshots.tree import EmptyTree, Node, Tree, resolve

_EMPTY = EmptyTree()


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output: the new layer stands on the snapshot of op input `base` (-1: on nothing)."""

    base: int
    draft: Draft

    def items(self) -> Iterator[Item]:
        return self.draft.items()


def apply(
    op: FileOp,
    inputs: Sequence[Tree],
    *,
    now: Callable[[], int] = time.time_ns,
    rules: Rules = Rules(),  # noqa: B008 - frozen
) -> dict[int, Output]:
    """Run all actions; the outputs by their numbers."""
    run = _Run(op, inputs, now(), rules)
    return run.outputs()


def whole(tree: Tree) -> Iterator[Item]:
    """All of a tree as one layer over nothing: a checkout, an archive, a directory of the host."""
    action = CopyAction(src="/", dest="/", dir_copy_contents=True)
    step = FileAction(action=action, input=NO_INPUT, secondary_input=0, output=0)
    return apply(FileOp(actions=(step,)), [tree])[0].items()


class _Run:
    def __init__(self, op: FileOp, inputs: Sequence[Tree], now: int, rules: Rules) -> None:
        self._op = op
        self._inputs = inputs
        self._now = now
        self._rules = rules
        self._results: list[Output] = []

    def outputs(self) -> dict[int, Output]:
        found: dict[int, Output] = {}
        for action in self._op.actions:
            result = self._one(action)
            self._results.append(result)
            if action.output >= 0:
                found[action.output] = result
        return found

    def _one(self, action: FileAction) -> Output:
        start = self._start(action.input)
        _Step(self, action, start.draft).run()
        return start

    def _start(self, number: int) -> Output:
        """A draft to go on with: fresh over an input, or a copy of what an action made."""
        if number < len(self._inputs):
            return Output(base=number, draft=Draft(self.tree(number)))
        earlier = self._results[self._action(number)]
        uses = sum(number in (act.input, act.secondary_input) for act in self._op.actions)
        shared = uses > 1 or self._op.actions[self._action(number)].output >= 0
        return Output(base=earlier.base, draft=earlier.draft.copy()) if shared else earlier

    def tree(self, number: int) -> Tree:
        if number == NO_INPUT:
            return _EMPTY
        if number < len(self._inputs):
            return self._inputs[number]
        return self._results[self._action(number)].draft

    def _action(self, number: int) -> int:
        index = number - len(self._inputs)
        if not 0 <= index < len(self._results):
            raise BuildError(f"file action refers to {number}, which is no input and not done yet")
        return index

    @property
    def now(self) -> int:
        return self._now

    @property
    def rules(self) -> Rules:
        return self._rules


class _Step:
    """One action on one draft."""

    def __init__(self, run: _Run, action: FileAction, draft: Draft) -> None:
        self._run = run
        self._action = action
        self._draft = draft

    def run(self) -> None:
        action = self._action.action
        match action:
            case CopyAction():
                self._copy(action)
            case MkDirAction():
                self._mkdir(action)
            case MkFileAction():
                self._mkfile(action)
            case RmAction():
                self._rm(action)
            case SymlinkAction():
                self._symlink(action)
            case _:
                assert_never(action)

    def _copy(self, action: CopyAction) -> None:
        source = self._run.tree(self._action.secondary_input)
        ids = self._ids(action.owner)
        mtime = self._time(action.timestamp)

        def unpack(tree: Tree, path: str, target: str) -> bool:
            place = Target(draft=self._draft, path=target, ids=ids, mtime=mtime)
            return lay_out(tree, path, place, self._run.rules)

        Copier(
            source=source,
            draft=self._draft,
            action=action,
            ids=ids,
            now=self._run.now,
            unpack=unpack,
        ).run()

    def _mkdir(self, action: MkDirAction) -> None:
        path = resolve(self._draft, action.path)
        if not action.make_parents:
            self._need_directory(path)
            if self._draft.lookup(path) is not None:
                return
        make_directories(
            self._draft,
            path,
            mode=action.mode & 0o777,
            ids=self._ids(action.owner),
            mtime=self._time(action.timestamp),
        )

    def _mkfile(self, action: MkFileAction) -> None:
        path = resolve(self._draft, action.path)
        self._need_directory(path)
        there = self._draft.lookup(path)
        if there is not None and there.kind is Kind.DIR:
            raise BuildError(f"/{path}: is a directory")
        node = self._made(Kind.REG, action.mode & 0o777, action.owner, action.timestamp)
        node = replace(node, size=len(action.data))
        self._draft.put(path, node, Data(action.data))

    def _symlink(self, action: SymlinkAction) -> None:
        path = resolve(self._draft, action.new_path, follow_last=False)
        self._need_directory(path)
        if self._draft.lookup(path) is not None:
            raise BuildError(f"/{path}: exists already")
        node = self._made(Kind.SYMLINK, 0o777, action.owner, action.timestamp)
        self._draft.put(path, replace(node, link=action.old_path))

    def _rm(self, action: RmAction) -> None:
        if not action.allow_wildcard:
            self._rm_one(action.path, action)
            return
        for found in expand(self._draft, action.path, follow=False):
            self._rm_one(found, action)

    def _rm_one(self, name: str, action: RmAction) -> None:
        path = resolve(self._draft, paths.clean(name), follow_last=False)
        if not path:
            raise BuildError("the root can't be removed")
        if self._draft.lookup(path) is not None:
            self._draft.remove(path)
        elif not action.allow_not_found:
            raise BuildError(f"/{path}: not found")

    def _need_directory(self, path: str) -> None:
        node = self._draft.lookup(paths.parent(path))
        if node is None or node.kind is not Kind.DIR:
            raise BuildError(f"/{path}: /{paths.parent(path)} is not a directory")

    def _made(self, kind: Kind, mode: int, owner: Owner | None, timestamp: int) -> Node:
        ids = self._ids(owner) or Ids(0, 0)
        return Node(kind=kind, mode=mode, uid=ids.uid, gid=ids.gid, mtime=self._time(timestamp))

    def _ids(self, owner: Owner | None) -> Ids | None:
        if owner is None or (owner.user is None and owner.group is None):
            return None
        return ids_of(owner, self._named_in(owner.user), self._named_in(owner.group))

    def _named_in(self, user: User | None) -> Tree:
        return self._run.tree(NO_INPUT if user is None else user.input)

    def _time(self, timestamp: int) -> int:
        return self._run.now if timestamp < 0 else timestamp
