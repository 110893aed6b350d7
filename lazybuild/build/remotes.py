"""Repositories and URLs as a request lets them be asked: with its secrets and its agents.

Also tells when such a source was made, for a SOURCE_DATE_EPOCH that names one.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lazybuild.llb.ops import SourceOp
from lazybuild.request import BuildRequest
from lazybuild.snapshots.tree import Tree, walk
from lazybuild.sources.archives import archive_tree, is_archive
from lazybuild.store import Store
from lazybuild.worker.secrets import of_request
from lazybuild.worker.services import scheme

if TYPE_CHECKING:
    from lazybuild.sources.git import GitSources
    from lazybuild.sources.http import File, HttpSources

_NANO = 1_000_000_000


def repositories(store: Store, request: BuildRequest) -> "GitSources":
    from lazybuild.sources.git import GitSources  # noqa: PLC0415 - few builds need it

    sockets = {agent.id: agent.socket for agent in request.ssh}
    return GitSources(
        store=store,
        environ=dict(os.environ),
        secrets=of_request(request),
        sockets=lambda name: sockets.get(name, ""),
    )


def downloads(store: Store, request: BuildRequest) -> "HttpSources":
    from lazybuild.registry.proxies import choose_proxy  # noqa: PLC0415 - few builds need it
    from lazybuild.sources.fetch import Policy  # noqa: PLC0415 - likewise
    from lazybuild.sources.http import HttpSources  # noqa: PLC0415 - likewise

    policy = Policy(proxy=choose_proxy(request.registries.environ))
    return HttpSources(store=store, policy=policy, secrets=of_request(request))


def source_time(request: BuildRequest) -> Callable[[SourceOp], int | None]:
    """Asks when a git or http(s) source was made, in seconds; None if nobody says."""

    def ask(op: SourceOp) -> int | None:
        with Store(request.root) as store:
            if scheme(op) == "git":
                sources = repositories(store, request)
                with sources.checkout(op, sources.commit(op)) as found:
                    return found.time
            return changed(store, downloads(store, request).file(op))

    return ask


def changed(store: Store, file: "File") -> int | None:
    """When a download was made: its own time, or that of an archive's newest entry."""
    return file.mtime // _NANO or newest(store.blobs.path(file.digest))


def newest(archive: Path) -> int | None:
    """The time of the newest entry of an archive; None for what is none."""
    return _latest(archive_tree(archive, now=0)) if is_archive(archive) else None


def _latest(tree: Tree) -> int | None:
    return max((node.mtime for _, node in walk(tree)), default=0) // _NANO or None
