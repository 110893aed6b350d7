"""Copy between trees with the meaning of the reference (tonistiigi/fsutil copy). An engine.

A directory's contents are copied, not the directory itself (if so asked); links at the top of the
source are followed, those inside are kept; where the destination is a link it is followed inside
the tree; a file never replaces a directory nor a directory a file.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace

from lazybuild.errors import BuildError
from lazybuild.estargz.entry import Kind
from lazybuild.llb.ops import CopyAction
from lazybuild.snapshots import paths
from lazybuild.snapshots.draft import Draft, FileOf, make_directories
from lazybuild.snapshots.modes import change
from lazybuild.snapshots.owners import Ids
from lazybuild.snapshots.patterns import Patterns
from lazybuild.snapshots.select import expand, selected
from lazybuild.snapshots.tree import Node, Tree, resolve, walk

# Lays an archive out below a directory of the draft; False if the file is no archive.
Unpack = Callable[[Tree, str, str], bool]


@dataclass(slots=True, kw_only=True)
class Copier:
    """One copy action. `ids` None keeps the source's owners; `now` dates what has to be made."""

    source: Tree
    draft: Draft
    action: CopyAction
    ids: Ids | None
    now: int
    unpack: Unpack

    def run(self) -> None:
        for source in self._sources():
            if not (self.action.attempt_unpack and self._unpacked(source)):
                self._copy(source)

    def _sources(self) -> tuple[str, ...]:
        action = self.action
        self._check_required()
        if not action.allow_wildcard:
            return (paths.clean(action.src),)
        found = tuple(expand(self.source, action.src, follow=action.follow_symlink))
        if not found and not action.allow_empty_wildcard:
            raise BuildError(f'"{action.src}": not found')
        return found

    def _check_required(self) -> None:
        for required in self.action.required_paths:
            wanted = paths.clean(required)
            if self.source.lookup(resolve(self.source, wanted)) is None:
                raise BuildError(f'"/{wanted}": not found')

    def _unpacked(self, source: str) -> bool:
        found = resolve(self.source, source)
        node = self.source.lookup(found)
        if node is None or node.kind is not Kind.REG:
            return False
        return self.unpack(self.source, found, resolve(self.draft, self.action.dest))

    def _copy(self, source: str) -> None:
        top = resolve(self.source, source, follow_last=self.action.follow_symlink)
        node = self.source.lookup(top)
        if node is None:
            raise BuildError(f'"/{source}": not found')
        self._make_destination()
        target = self._target(source, node)
        for path, found, meant in self._selected(top):
            below = path[len(top) :].strip("/")
            self._put(paths.join(target, below), path, found, meant=meant, top=not below)

    def _selected(self, top: str) -> Iterator[tuple[str, Node, bool]]:
        action = self.action
        if not action.include_patterns and not action.exclude_patterns:
            return ((path, node, True) for path, node in walk(self.source, top))
        include, exclude = Patterns(action.include_patterns), Patterns(action.exclude_patterns)
        return selected(self.source, top, include=include, exclude=exclude)

    def _make_destination(self) -> None:
        """The directory that the text of the destination names: all of "a/b/", "a/" of "a/b"."""
        directory, _, last = self.action.dest.rpartition("/")
        if last in (".", ".."):
            directory = self.action.dest
        if not self.action.create_dest_path:
            self._require(directory)
        self._mkdir(resolve(self.draft, directory))

    def _require(self, directory: str) -> None:
        if self.draft.lookup(resolve(self.draft, directory)) is None:
            raise BuildError(f"/{paths.clean(directory)}: no such directory")

    def _target(self, source: str, node: Node) -> str:
        target = resolve(self.draft, paths.clean(self.action.dest))
        there = self.draft.lookup(target)
        is_dir, contents = node.kind is Kind.DIR, self.action.dir_copy_contents
        into = not contents if is_dir else there is not None and there.kind is Kind.DIR
        if there is not None and into:
            target = paths.join(target, paths.base(source))
        self._mkdir(target if is_dir and contents and there is None else paths.parent(target))
        return target

    def _mkdir(self, path: str) -> None:
        mtime = self.now if self.action.timestamp < 0 else self.action.timestamp
        make_directories(self.draft, path, mode=0o755, ids=self.ids, mtime=mtime)

    def _put(self, target: str, path: str, node: Node, *, meant: bool, top: bool) -> None:
        there = self.draft.lookup(target)
        if there is not None and self.action.always_replace and _differ(there, node):
            self.draft.remove(target)
            there = None
        if node.kind is Kind.DIR:
            self._put_directory(target, node, there, overwrite=meant and not top)
        elif there is not None and there.kind is Kind.DIR:
            raise BuildError(f"cannot replace directory /{target} with file /{path}")
        else:
            content = FileOf(self.source, path) if node.kind is Kind.REG else None
            self.draft.put(target, self._changed(node), content)

    def _put_directory(
        self, target: str, node: Node, there: Node | None, *, overwrite: bool
    ) -> None:
        if there is not None and there.kind is not Kind.DIR:
            raise BuildError(f"cannot copy to non-directory: /{target}")
        if there is None or overwrite:
            self.draft.put(target, self._changed(node))

    def _changed(self, node: Node) -> Node:
        """The metadata that the copy of `node` has."""
        ids = self.ids
        uid, gid = (ids.uid, ids.gid) if ids else (node.uid, node.gid)
        mode, identity = self._mode(node), self._identity(node)
        mtime = node.mtime if self.action.timestamp < 0 else self.action.timestamp
        same = (node.uid, node.gid, node.mode, node.mtime, node.identity)
        if same == (uid, gid, mode, mtime, identity):
            return node
        return replace(node, uid=uid, gid=gid, mode=mode, mtime=mtime, identity=identity)

    def _mode(self, node: Node) -> int:
        if node.kind is Kind.SYMLINK:
            return node.mode
        if self.action.mode_str:
            return change(node.mode, self.action.mode_str, directory=node.kind is Kind.DIR)
        return node.mode if self.action.mode < 0 else self.action.mode & 0o7777

    def _identity(self, node: Node) -> Hashable:
        """Names of one file stay names of one file when one copy takes them along."""
        return None if node.identity is None else (id(self), node.identity)


def _differ(there: Node, node: Node) -> bool:
    return not (there.kind is Kind.DIR and node.kind is Kind.DIR)
