"""Paths inside an image, as the reference joins and cleans them. Pure; always forward slashes."""

import posixpath

ROOT = "/"


def clean(path: str) -> str:
    """Go's path.Clean: no `.`, no inner `..`, no double slash; "" becomes "."."""
    cleaned = posixpath.normpath(path or ".")
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def inside(path: str) -> str:
    """`path` from the root, in which `..` can't lead out."""
    return clean("/" + path)


def absolute(parent: str, path: str) -> str:
    """`path` seen from `parent`. An absolute one is left as it was written."""
    if path.startswith("/"):
        return path
    return clean(f"/{parent}/{path}") if path else clean(f"/{parent}")


def destination(parent: str, path: str) -> str:
    """Where a copy goes: cleaned, with the `/` or `/.` at the end that says "a directory"."""
    written = path if path not in {"", "."} else "./"
    cleaned = inside(written) if written.startswith("/") else inside(f"{parent}/{written}")
    if written.endswith("/") and not cleaned.endswith("/"):
        return cleaned + "/"
    if written.endswith("/."):
        return (cleaned if cleaned == ROOT else cleaned + "/") + "."
    return cleaned


def has_wildcard(path: str) -> bool:
    """Whether an unescaped `*`, `?` or `[` stands in it."""
    escaped = False
    for char in path:
        if not escaped and char in "*?[":
            return True
        escaped = char == "\\" and not escaped
    return False


def used(paths: set[str]) -> tuple[str, ...]:
    """What to ask of a source, given the paths that are used of it; () is everything."""
    if not paths or ROOT in paths:
        return ()
    return tuple(sorted(path.lstrip("/") for path in paths))
