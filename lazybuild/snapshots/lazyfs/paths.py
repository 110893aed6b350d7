"""Walks paths with their symlinks inside one layer. Pure, bounded: links are hostile."""

from lazybuild.snapshots.lazyfs.tree import ROOT, Tree

_LINKS_MAX = 8


def follow(tree: Tree, path: str) -> int:
    """The regular file with content that a path leads to, 0 when there is none."""
    links, trail = 0, [ROOT]
    todo = [part for part in reversed(path.encode("utf-8", "surrogateescape").split(b"/")) if part]
    while todo:
        part = todo.pop()
        if part in (b".", b".."):
            trail = trail[:-1] or [ROOT] if part == b".." else trail
            continue
        ino = tree.lookup(trail[-1], part)
        target = tree.link(ino) if ino else b""
        links += bool(target)
        if not ino or links > _LINKS_MAX:
            return 0
        if target:
            trail = [ROOT] if target.startswith(b"/") else trail
            todo += [part for part in reversed(target.split(b"/")) if part]
        else:
            trail.append(ino)
    return trail[-1] if tree.file_chunks(trail[-1]) else 0
