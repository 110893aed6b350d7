"""RUN --mount: the comma-separated fields of one flag, checked. Pure.

The flag is read twice: when it is decoded, only for the stage it mounts from (which may not hold
a variable), and when it is lowered, with every other value expanded.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from lazybuild.dockerfile.durations import size_bytes
from lazybuild.dockerfile.flags import Value
from lazybuild.dockerfile.hints import hint
from lazybuild.errors import DockerfileError, Span
from lazybuild.llb.ops import MountType, Sharing

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_MAX_ID = 2**32
_CELL = r'(?:"(?:[^"]|"")*"|[^",]*)'
_ROW = re.compile(rf"{_CELL}(?:,{_CELL})*")
_FIELD = re.compile(rf"(?:^|(?<=,)){_CELL}(?=,|$)")
_Choice = TypeVar("_Choice", MountType, Sharing)
_WITH_OWNER = frozenset({MountType.SECRET, MountType.SSH, MountType.CACHE})
_REQUIRABLE = frozenset({MountType.SECRET, MountType.SSH})
_SWITCHES = frozenset({"ro", "readonly", "rw", "readwrite", "required"})
_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_WORDS = "type from source target readonly readwrite id sharing required size mode uid gid env"
_KEYS = frozenset(_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """One mount as written; None is "not said"."""

    span: Span
    type: MountType = MountType.BIND
    source_stage: str = ""
    source: str = ""
    target: str = ""
    readonly: bool | None = None
    size: int = 0
    id: str = ""
    sharing: Sharing | None = None
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None

    @property
    def writable(self) -> bool:
        """Caches and tmpfs are writable unless said otherwise, others the other way round."""
        if self.readonly is None:
            return self.type in {MountType.CACHE, MountType.TMPFS}
        return not self.readonly

    @property
    def owned(self) -> bool:
        return not (self.mode is None and self.uid is None and self.gid is None)


def mount_stage(flag: Value) -> str:
    """The `from` of a mount."""
    stage = ""
    for key, value in _fields(flag):
        if key == "from" and value is not None:
            if "$" in value[:-1]:
                raise DockerfileError(
                    "'from' doesn't support variable expansion, define alias stage instead",
                    span=flag.span,
                )
            stage = value
    return stage


def read_mount(flag: Value, expand: Callable[[str], str]) -> RunMount:
    """One flag, its values expanded by `expand`."""
    mount = RunMount(span=flag.span)
    for key, value in _fields(flag):
        if value is None and key not in _SWITCHES:
            raise _wrong(flag, f"invalid field '{key}' must be a key=value pair")
        known = _known(key, flag)
        if value is None:
            mount = _set(mount, known, "true", flag)
        else:
            mount = _set(mount, known, expand(value), flag)
    _check(mount)
    return mount


def _fields(flag: Value) -> Iterator[tuple[str, str | None]]:
    if not flag.text:
        raise _wrong(flag, "a mount needs at least a target")
    if not _ROW.fullmatch(flag.text):
        raise _wrong(flag, f"failed to parse csv mounts: a stray quote in {flag.text}")
    for field in _FIELD.findall(flag.text):
        text = field[1:-1].replace('""', '"') if field.startswith('"') else field
        key, equals, value = text.partition("=")
        yield key.lower(), value if equals else None


def _known(key: str, flag: Value) -> str:
    name = _ALIASES.get(key, key)
    if name not in _KEYS:
        near = hint(key, [*_KEYS, *_ALIASES])
        raise DockerfileError(f"unexpected key '{key}' for --mount", span=flag.span, hint=near)
    return name


def _set(mount: RunMount, key: str, value: str, flag: Value) -> RunMount:  # noqa: C901, PLR0911, PLR0912 - one arm a key
    match key:
        case "type":
            return replace(mount, type=_choice(MountType, value, "mount type", flag))
        case "sharing":
            return replace(mount, sharing=_choice(Sharing, value, "sharing value", flag))
        case "from":
            return replace(mount, source_stage=value)
        case "source":
            return replace(mount, source=value)
        case "target":
            return replace(mount, target=value)
        case "id":
            return replace(mount, id=value)
        case "env":
            return replace(mount, env=value)
        case "readonly":
            return replace(mount, readonly=_bool(key, value, flag))
        case "readwrite":
            return replace(mount, readonly=not _bool(key, value, flag))
        case "required":
            _only_for(mount, key, _REQUIRABLE, flag)
            return replace(mount, required=_bool(key, value, flag))
        case "size":
            _only_for(mount, key, frozenset({MountType.TMPFS}), flag)
            return replace(mount, size=_size(value, flag))
        case "mode":
            return replace(mount, mode=_number(key, value, 8, flag))
        case "uid":
            return replace(mount, uid=_number(key, value, 10, flag))
        case _:
            return replace(mount, gid=_number(key, value, 10, flag))


def _choice(kind: type[_Choice], value: str, what: str, flag: Value) -> _Choice:
    try:
        return kind(value.lower())
    except ValueError as error:
        near = hint(value, list(kind))
        raise DockerfileError(f'unsupported {what} "{value}"', span=flag.span, hint=near) from error


def _bool(key: str, value: str, flag: Value) -> bool:
    if value not in _TRUE | _FALSE:
        raise _wrong(flag, f"invalid value for {key}: {value}")
    return value in _TRUE


def _size(value: str, flag: Value) -> int:
    try:
        return size_bytes(value)
    except ValueError as error:
        raise _wrong(flag, f"invalid value for size: {value}") from error


def _number(key: str, value: str, base: int, flag: Value) -> int:
    digits = "01234567" if base == 8 else "0123456789"  # noqa: PLR2004 - octal
    if not value or value.strip(digits) or int(value, base) >= _MAX_ID:
        raise _wrong(flag, f"invalid value {value} for {key}")
    return int(value, base)


def _only_for(mount: RunMount, key: str, types: frozenset[MountType], flag: Value) -> None:
    if mount.type not in types:
        raise _wrong(flag, f"unexpected key '{key}' for mount type '{mount.type}'")


def _check(mount: RunMount) -> None:
    for key in ("mode", "uid", "gid"):
        if getattr(mount, key) is not None and mount.type not in _WITH_OWNER:
            raise DockerfileError(
                f'{key} not allowed for "{mount.type}" type mounts', span=mount.span
            )
    if mount.type is MountType.SECRET:
        _check_secret(mount)
    if mount.sharing is not None and mount.type is not MountType.CACHE:
        raise DockerfileError(f"invalid cache sharing set for {mount.type} mount", span=mount.span)
    if mount.type is MountType.SSH and mount.source:
        raise DockerfileError("ssh does not support source", span=mount.span)


def _check_secret(mount: RunMount) -> None:
    if mount.source_stage:
        raise DockerfileError("secret mount should not have a from", span=mount.span)
    if mount.sharing is not None:
        raise DockerfileError("secret mount should not define sharing", span=mount.span)
    if not (mount.source or mount.target or mount.id):
        raise DockerfileError(
            "invalid secret mount. one of source, target required", span=mount.span
        )
    if mount.source and mount.id:
        raise DockerfileError("both source and id can't be set", span=mount.span)


def _wrong(flag: Value, message: str) -> DockerfileError:
    return DockerfileError(message, span=flag.span)
