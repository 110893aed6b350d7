"""Names inside a tree: `str` decoded with surrogateescape, relative to the root, which is "".

No name has empty, "." or ".." parts; `clean` makes one from whatever text stands in a Dockerfile,
clamping ".." at the root as chroot does. Pure; touches no file system.
"""

from collections.abc import Iterator


def clean(path: str) -> str:
    """The name that `path` means, seen from the root: `/a/../../b/./c/` is `b/c`."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory and name else directory or name


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def base(path: str) -> str:
    return path.rpartition("/")[2]


def ancestors(path: str) -> Iterator[str]:
    """The directories above `path`, topmost first, without the root."""
    position = path.find("/")
    while position >= 0:
        yield path[:position]
        position = path.find("/", position + 1)


def sort_key(path: str) -> bytes:
    """Order in which a directory stands directly before what it holds, bytewise inside.

    No name has a NUL, so with one for each separator the parts are compared one after another.
    """
    return path.encode("utf-8", "surrogateescape").replace(b"/", b"\0")
