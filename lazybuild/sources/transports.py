"""Where an image lies on this machine, out of words such as `oci-archive:base.tar:1`.

Looks at files only to find out which part of a text is the name of one.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lazybuild.errors import UsageError
from lazybuild.oci import digest as digests
from lazybuild.oci import transport
from lazybuild.oci.digest import Digest
from lazybuild.oci.reference import Reference
from lazybuild.oci.transport import HOST, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalImage:
    """`wanted` is a tag, a name, a digest, `@N` for the N-th, or "" for the only one."""

    kind: Kind
    path: Path
    wanted: str = ""

    @property
    def number(self) -> int | None:
        """The N of `@N`."""
        text = self.wanted.removeprefix("@")
        return int(text) if text != self.wanted and text.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}" + (f":{self.wanted}" if self.wanted else "")

    def called(self, digest: Digest) -> Reference:
        """A full name for the image, which says where it is from."""
        known = re.sub(r"[^a-z0-9]+", "-", self.path.name.lower())[:100].strip("-")
        return Reference(registry=HOST, repository=known or "image", digest=digest)


def parse(text: str, above: Path | None = None) -> LocalImage | None:
    """What the text names, or None when it is no such name. Paths begin at `above` (default: the
    working directory).
    """
    if transport.foreign(text):
        raise UsageError(
            f"{text}: the storage of another program is not read",
            hint="docker save -o FILE, or podman save -o FILE, and docker-archive:FILE",
        )
    kind = transport.kind(text)
    if kind is None:
        return None
    path, wanted = _split(text.partition(":")[2].removeprefix("//"), above or Path.cwd())
    if not path:
        raise UsageError(f"{text}: no file is named", hint=f"{kind}:PATH[:NAME]")
    return LocalImage(kind=kind, path=(above or Path.cwd()) / path, wanted=wanted)


def inside(text: str, root: Path | None) -> LocalImage | None:
    """As `parse`, for a text of somebody who has no business outside of the directory `root`."""
    found = parse(text, root)
    if found is None:
        return None
    if root is None or not found.path.resolve().is_relative_to(root.resolve()):
        raise UsageError(
            f"{text} is not in the build context",
            hint=f"--build-context NAME={text} gives the build an image from elsewhere",
        )
    return found


def _split(text: str, above: Path) -> tuple[str, str]:
    """The path, and what is wanted of what is there; a colon may be part of either."""
    if (above / text).exists():
        return text, ""
    head, _, digest = text.rpartition("@")
    if head and digests.is_valid(digest):
        return _split(head, above)[0], digest
    places = [at for at, character in enumerate(text) if character == ":"]
    known = (at for at in places if (above / text[:at]).exists())
    at = next(known, places[0] if places else len(text))
    return text[:at], text[at + 1 :]
