"""A tar archive as a build context: from standard input, or behind a URL.

The archive is laid out as ADD would, in memory and without its bytes, which stay where they are.
"""

from pathlib import Path

from lazybuild.errors import BuildError
from lazybuild.snapshots.archive import Rules, Target, lay_out
from lazybuild.snapshots.draft import Draft
from lazybuild.snapshots.hosttree import HostTree
from lazybuild.snapshots.owners import Ids
from lazybuild.snapshots.spool import probe
from lazybuild.snapshots.tree import EmptyTree, Tree


def archive_tree(archive: Path, *, now: int, spool: Path | None = None) -> Tree:
    """The files of a tar archive (plain or compressed), owned by 0:0 like every context."""
    draft = Draft(EmptyTree())
    target = Target(draft=draft, path="", ids=Ids(0, 0), mtime=now)
    if not lay_out(HostTree(archive.parent), archive.name, target, Rules(spool=spool)):
        raise BuildError(f"{archive}: not a tar archive")
    return draft


def is_archive(archive: Path) -> bool:
    """Whether a file is a tar archive, and not a Dockerfile."""
    return probe(HostTree(archive.parent), archive.name)
