"""Archives as lists of entries, honest or not, written by hand so that nothing is corrected."""

import io
import tarfile
from collections.abc import Iterable

Made = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]


def info(name: str, **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.mode = 0o644
    for key, value in more.items():
        setattr(made, key, value)
    return made


def file(name: str, data: bytes = b"", **more: object) -> Made:
    return info(name, size=len(data), **more), data


def directory(name: str, **more: object) -> Made:
    return info(name, **{"type": tarfile.DIRTYPE, "mode": 0o755, **more})


def symlink(name: str, target: str) -> Made:
    return info(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str) -> Made:
    return info(name, type=tarfile.LNKTYPE, linkname=target)


def device(name: str, kind: bytes, major: int, minor: int) -> Made:
    return info(name, type=kind, devmajor=major, devminor=minor)


def fifo(name: str) -> Made:
    return info(name, type=tarfile.FIFOTYPE)


def tar(entries: Iterable[Made], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as archive:
        for entry in entries:
            head, data = entry if isinstance(entry, tuple) else (entry, b"")
            archive.addfile(head, io.BytesIO(data))
    return out.getvalue()
