"""The packages of a file tree, as its package databases list them: dpkg's and apk's.

An engine over a `Tree`; what an image says about itself is hostile text and bounded. Databases that
can't be read here (rpm's) are named, so that nobody takes a list for complete that is not.
Sources: dpkg(1) status file, apk "installed" database, os-release(5).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from lazybuild.errors import LazybuildError
from lazybuild.estargz.entry import Kind
from lazybuild.snapshots.tree import Tree, resolve

DPKG = "var/lib/dpkg/status"
DPKG_PARTS = "var/lib/dpkg/status.d"  # of images without a package manager
APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
RPM = ("var/lib/rpm", "usr/lib/sysimage/rpm")
OS_RELEASE = ("etc/os-release", "usr/lib/os-release")

MAX_DATABASE = 64 << 20
MAX_PACKAGES = 100_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,199}\Z")
_VERSION = re.compile(r"[A-Za-z0-9.+~:_-]{1,200}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """`kind` is that of package URLs: deb or apk."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    source: str = ""
    license: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """`distro` is like "debian-12"; `unread` are databases that nobody here understands."""

    packages: tuple[Package, ...]
    distro: str = ""
    vendor: str = ""
    unread: tuple[str, ...] = ()


def inventory(tree: Tree) -> Inventory:
    release = _release(tree)
    found = dict.fromkeys(_all(tree))
    return Inventory(
        packages=tuple(sorted(found, key=lambda p: (p.kind, p.name, p.version, p.architecture))),
        distro="-".join(part for part in (release.get("ID"), release.get("VERSION_ID")) if part),
        vendor=release.get("ID", ""),
        unread=tuple(path for path in RPM if tree.lookup(resolve(tree, path)) is not None),
    )


def _all(tree: Tree) -> Iterator[Package]:
    return islice(chain(_dpkg(tree), _apk(tree)), MAX_PACKAGES)


def _dpkg(tree: Tree) -> Iterator[Package]:
    yield from _debian(_text(tree, DPKG))
    directory = resolve(tree, DPKG_PARTS)
    for name in tree.children(directory):
        if not name.endswith(".md5sums"):
            yield from _debian(_text(tree, f"{directory}/{name}"), installed=True)


def _debian(text: str, *, installed: bool = False) -> Iterator[Package]:
    for stanza in text.split("\n\n"):
        fields = _fields(stanza, ":")
        if installed or fields.get("Status", "").endswith(" installed"):
            yield from _package(
                "deb",
                fields.get("Package", ""),
                fields.get("Version", ""),
                architecture=fields.get("Architecture", ""),
                source=fields.get("Source", "").partition(" ")[0],
            )


def _apk(tree: Tree) -> Iterator[Package]:
    for path in APK:
        for stanza in _text(tree, path).split("\n\n"):
            fields = _fields(stanza, ":")
            yield from _package(
                "apk",
                fields.get("P", ""),
                fields.get("V", ""),
                architecture=fields.get("A", ""),
                source=fields.get("o", ""),
                license=fields.get("L", ""),
            )


def _package(kind: str, name: str, version: str, **more: str) -> Iterator[Package]:
    """Nothing that is not a name and a version: the text is the image's."""
    if _NAME.match(name) and _VERSION.match(version):
        known = {key: value[:200] for key, value in more.items() if value.isprintable()}
        for key in ("architecture", "source"):
            if not _NAME.match(known.get(key, "")):
                known[key] = ""
        yield Package(kind=kind, name=name, version=version, **known)


def _fields(stanza: str, separator: str) -> Mapping[str, str]:
    pairs = (line.partition(separator) for line in stanza.splitlines() if line[:1].strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _release(tree: Tree) -> Mapping[str, str]:
    for path in OS_RELEASE:
        found = {k: v.strip("\"'") for k, v in _fields(_text(tree, path), "=").items()}
        if found:
            return {k: v for k, v in found.items() if _NAME.match(v)}
    return {}


def _text(tree: Tree, path: str) -> str:
    """A file of the tree, links followed inside; "" when there is none that could be read."""
    try:
        real = resolve(tree, path)
        node = tree.lookup(real)
    except LazybuildError:
        return ""
    if node is None or node.kind is not Kind.REG or node.size > MAX_DATABASE:
        return ""
    with tree.open(real) as file:
        return file.read(MAX_DATABASE).decode("utf-8", "replace")
