"""Directories of the client as sources: `local://NAME` with its ignore rules. An edge.

Nothing is transferred, so `local.followpaths`, which limits a transfer, has nothing to limit: what
no step asks for is never read. `local.includepattern` and `local.excludepatterns` decide what is
there at all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from lazybuild.errors import BuildError, UsageError
from lazybuild.llb.ops import SourceOp
from lazybuild.snapshots import paths
from lazybuild.snapshots.hosttree import FileDigests, FileKey, HostTree
from lazybuild.snapshots.patterns import Matched, Patterns
from lazybuild.sources.attrs import Attrs
from lazybuild.store.meta import FileState, Meta

SCHEME = "local"


class LocalSources:
    """The directories of one build by name. Each op gets a tree of its own, made once."""

    def __init__(self, directories: Mapping[str, Path], digests: FileDigests | None = None) -> None:
        self._directories = directories
        self._digests = digests
        self._trees: dict[SourceOp, HostTree] = {}

    def tree(self, op: SourceOp) -> HostTree:
        known = self._trees.get(op)
        if known is None:
            known = self._trees.setdefault(op, self._opened(op))
        return known

    def flush(self) -> None:
        """Remember the digests that were taken."""
        for tree in self._trees.values():
            tree.flush()

    def _opened(self, op: SourceOp) -> HostTree:
        name = op.identifier.partition("://")[2]
        directory = self._directories.get(name)
        if directory is None:
            raise UsageError(f"no local directory is called {name!r}")
        if not directory.is_dir():
            raise BuildError(f"{directory}: not a directory")
        attrs = Attrs(op)
        include = attrs.texts("local.includepattern")
        exclude = attrs.texts("local.excludepatterns")
        ignore = PatternRules(include=include, exclude=exclude) if include or exclude else None
        return HostTree(directory, ignore=ignore, digests=self._digests)


class PatternRules:
    """Ignore rules out of lists of patterns, for `HostTree`: what is found is kept by directory."""

    def __init__(self, *, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> None:
        self._include = Patterns(include)
        self._exclude = Patterns(exclude)
        self._found: dict[str, tuple[Matched, Matched]] = {"": ((), ())}

    def excludes(self, path: str) -> bool:
        wanted, unwanted, _ = self._judged(path)
        return unwanted or not wanted

    def may_include_below(self, path: str) -> bool:
        wanted, unwanted, _ = self._judged(path)
        if unwanted and not self._exclude.reaches_below(path, negated=True):
            return False
        return wanted or self._include.reaches_below(path)

    def _judged(self, path: str) -> tuple[bool, bool, tuple[Matched, Matched]]:
        for directory in paths.ancestors(path):
            if directory not in self._found:
                self._found[directory] = self._match(directory)[2]
        return self._match(path)

    def _match(self, path: str) -> tuple[bool, bool, tuple[Matched, Matched]]:
        included, excluded = self._found[paths.parent(path)]
        wanted, included = self._include.match(path, included)
        unwanted, excluded = self._exclude.match(path, excluded)
        return wanted or self._include.empty, unwanted, (included, excluded)


class StoredDigests:
    """`FileDigests` in the store's database; its `FileState` has the same fields as `FileKey`."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta

    def load(self, keys: Sequence[FileKey]) -> Mapping[FileKey, str]:
        found = self._meta.file_digests(cast("Sequence[FileState]", keys))
        return cast("Mapping[FileKey, str]", found)

    def save(self, digests: Mapping[FileKey, str]) -> None:
        self._meta.put_file_digests(cast("Mapping[FileState, str]", digests))
