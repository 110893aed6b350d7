"""Reads what a build starts from: the Dockerfile, the ignore files, the contexts by name."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lazybuild.build import contexts
from lazybuild.build.contexts import Remote
from lazybuild.dockerfile import syntax
from lazybuild.dockerfile.characters import BOM, decode
from lazybuild.dockerfile.ignore import read_patterns
from lazybuild.dockerfile.nodes import Document
from lazybuild.dockerfile.options import FrontendInput
from lazybuild.dockerfile.parse import parse
from lazybuild.dockerfile.syntax import Frontend
from lazybuild.errors import UsageError
from lazybuild.registry.redact import shown
from lazybuild.request import BuildRequest

MAIN = "context"
DEFAULT_NAMES = ("Dockerfile", "dockerfile")
MAX_DOCKERFILE = 16 << 20
MAX_IGNORE = 1 << 20
URL_MARKS = ("://", "git@")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """`path` and `data` are the Dockerfile, `frontend` the image that reads it instead of us;
    `title` is what it is called in errors where that is not its path.
    `context` is a context as the compiler names it; `directories` the local ones by name.
    `apart` is set where the Dockerfile was given beside a context that is no directory;
    `own_ignore` is the text of its own ignore file. `keep` holds what has to exist until the build
    is over, `time` is that of a context's newest file where no source can be asked for it.
    """

    path: str
    data: bytes
    frontend: Frontend | None
    context: str
    contexts: Mapping[str, str]
    directories: Mapping[str, Path]
    ignored: tuple[str, ...]
    ignored_in: Mapping[str, tuple[str, ...]]
    inputs: Mapping[str, FrontendInput] = field(default_factory=dict)
    apart: bool = False
    own_ignore: bytes = b""
    keep: object = None
    time: int | None = None
    title: str = ""

    @cached_property
    def document(self) -> Document:
        """Raises DockerfileError for what is no Dockerfile."""
        return parse(self.data, self.title or self.path)

    @property
    def source(self) -> str:
        """The text as errors show it."""
        return decode(self.data).removeprefix(BOM)

    def require_dockerfile(self, what: str) -> None:
        """Refuse a file that is for another frontend, and one that is no Dockerfile."""
        if self.frontend is not None:
            raise self.frontend.refused(what, self.source)
        _ = self.document


def read(request: BuildRequest) -> Inputs:
    named = contexts.named(request)
    places = {
        name: _directory(value, f"--build-context {name}")
        for name, value in named.items()
        if _is_local(value)
    }
    others = {name: value for name, value in named.items() if name not in places}
    remote = contexts.read(request)
    if remote is not None:
        return _remote(request, remote, places, others)
    root = _context_directory(request.context)
    path, data = _dockerfile(request, root)
    own = Path(request.ignorefile) if request.ignorefile else _own_ignore(root, path)
    return Inputs(
        path=path,
        data=data,
        frontend=_frontend(request, data, path),
        own_ignore=read_regular(own, MAX_IGNORE, root) if own is not None else b"",
        context=f"local:{MAIN}",
        contexts={**others, **{name: f"local:{name}" for name in places}},
        directories={MAIN: root, **places},
        ignored=_ignored(root, own),
        ignored_in={name: _ignored(place, None) for name, place in places.items()},
    )


def _remote(
    request: BuildRequest, remote: Remote, places: Mapping[str, Path], others: Mapping[str, str]
) -> Inputs:
    name = _shown(request.dockerfile) or "Dockerfile"
    return Inputs(
        path=name,
        data=remote.dockerfile,
        frontend=_frontend(request, remote.dockerfile, name),
        apart=request.dockerfile == "-" or request.dockerfile.startswith(contexts.URLS),
        context=remote.context,
        contexts={**others, **{name: f"local:{name}" for name in places}},
        directories={**remote.directories, **places},
        ignored=(),
        ignored_in={name: _ignored(place, None) for name, place in places.items()},
        inputs=remote.inputs,
        keep=remote.keep,
        time=remote.time,
    )


def _shown(name: str) -> str:
    """What a Dockerfile is called in errors and warnings: a URL may be signed."""
    return shown(name) if name.startswith(contexts.URLS) else name


def _frontend(request: BuildRequest, data: bytes, path: str) -> Frontend | None:
    return syntax.foreign(data, path, request.build_args, request.frontend)


def _is_local(value: str) -> bool:
    """A directory wins over what else its name could mean."""
    return Path(value).is_dir() or not (
        any(mark in value for mark in URL_MARKS) or contexts.git_url(value)
    )


def _context_directory(context: str) -> Path:
    return _directory(context, "context")


def _directory(name: str, what: str) -> Path:
    path = Path(name).absolute()
    if not path.is_dir():
        raise UsageError(f"{what}: {name} is not a directory")
    return path


def _dockerfile(request: BuildRequest, root: Path) -> tuple[str, bytes]:
    """The name to show and the bytes."""
    if (data := contexts.given_dockerfile(request)) is not None:
        return _shown(request.dockerfile), data
    if request.dockerfile:
        given = _given(request.dockerfile, root)
        return request.dockerfile, read_regular(given, MAX_DOCKERFILE, root)
    for name in DEFAULT_NAMES:
        if (root / name).exists():
            return name, read_regular(root / name, MAX_DOCKERFILE, root)
    raise UsageError(f"there is no Dockerfile in {root}", hint="name one with -f")


def _given(name: str, root: Path) -> Path:
    """As docker does: relative to the working directory, else to the context."""
    path = Path(name)
    return path if path.exists() or path.is_absolute() else root / name


def _ignored(root: Path, own: Path | None) -> tuple[str, ...]:
    """The patterns of its own ignore file, else of .dockerignore."""
    path = own or root / ".dockerignore"
    if own is None and not path.exists():
        return ()
    return tuple(read_patterns(read_regular(path, MAX_IGNORE, root), str(path)))


def _own_ignore(root: Path, dockerfile: str) -> Path | None:
    """The ignore file that belongs to this Dockerfile alone, if it has one."""
    by_name = dockerfile and dockerfile != "-" and not dockerfile.startswith(contexts.URLS)
    if not by_name:
        return None
    own = Path(f"{_given(dockerfile, root)}.dockerignore")
    if not own.is_absolute() and not own.exists():
        own = root / f"{dockerfile}.dockerignore"
    return own if own.exists() else None


def read_regular(path: Path, limit: int, root: Path | None = None) -> bytes:
    """The bytes of a file that is neither a FIFO nor a device nor larger than `limit`.

    What lies in `root` must not be a link out of it: whoever wrote a context could have a file of
    the user's shown in an error.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UsageError(f"{path} is not a regular file")
    with os.fdopen(fd, "rb") as file:
        if root is not None and _leads_out(path, fd, root):
            raise UsageError(f"{path} leads out of the context {root}")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit >> 20} MiB")
    return data


def _leads_out(path: Path, fd: int, root: Path) -> bool:
    """By its name (abspath follows no link) in `root`, and opened elsewhere."""
    inside = Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))  # noqa: PTH100 - text only
    opened = Path(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - a link of the kernel's
    return inside and not opened.is_relative_to(root.resolve())
