"""Rules for names from registries.conf (v2) and containerd's hosts.toml. Reads TOML files only.

registries.conf: [[registry]] with prefix, location, insecure, blocked, [[registry.mirror]].
hosts.toml: one folder per host, server, [host."URL"] in order, capabilities, skip_verify, ca,
client, override_path, header.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lazybuild.errors import UsageError
from lazybuild.registry.config import RegistryConfig
from lazybuild.registry.hosts import Place, Rule
from lazybuild.registry.trust import NotTrustedError, origin

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_PULL: Final = frozenset({"pull", "resolve"})
_ALL: Final = frozenset({"pull", "resolve", "push"})
_FROM_MIRROR: Final = {
    "": _PULL,
    "all": _PULL,
    "digest-only": frozenset({"pull"}),
    "tag-only": frozenset({"resolve"}),
}

Table = Mapping[str, object]


def load_rules(config: RegistryConfig) -> list[Rule]:
    """All rules; hosts.toml goes before registries.conf for the same name."""
    rules = [rule for file in _hosts_files(config) for rule in read_hosts(file)]
    known = {rule.prefix for rule in rules}
    for file in _conf_files(config):
        rules += [rule for rule in read_conf(file) if rule.prefix not in known]
    return rules


def _conf_files(config: RegistryConfig) -> Iterator[Path]:
    """The main file, then its drop-ins; the later ones are looked at first."""
    if config.registries_conf:
        yield Path(config.registries_conf)
        return
    named = config.environ.get("CONTAINERS_REGISTRIES_CONF")
    own = config.xdg("XDG_CONFIG_HOME", ".config") / "containers"
    etc = Path("/etc/containers")
    folder = own if (own / "registries.conf").exists() else etc
    drop_ins = [p for base in (etc, own) for p in _glob(base / "registries.conf.d", "*.conf")]
    yield from sorted(drop_ins, key=lambda path: path.name, reverse=True)
    main = Path(named) if named else folder / "registries.conf"
    if main.exists():
        yield main


def _hosts_files(config: RegistryConfig) -> Iterator[Path]:
    own = config.xdg("XDG_CONFIG_HOME", ".config") / "containerd/certs.d"
    seen = set()
    for base in (own, Path("/etc/containerd/certs.d")):
        for file in _glob(base, "*/hosts.toml"):
            if file.parent.name not in seen:
                seen.add(file.parent.name)
                yield file


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:  # a folder that is not ours to read configures nothing for us
        return []


def read_conf(path: Path) -> list[Rule]:
    """The rules of one registries.conf. Raises UsageError for what it can't mean."""
    value = _toml(path)
    return [_conf_rule(table, path) for table in _tables(value, "registry", path)]


def _conf_rule(table: Table, path: Path) -> Rule:
    location = _text(table, "location", path)
    prefix = _text(table, "prefix", path) or location
    if not prefix:
        raise UsageError(f"{path}: a [[registry]] without prefix and location")
    here = Place(
        location=location or prefix, insecure=_flag(table, "insecure", path), capabilities=_ALL
    )
    wild = prefix.startswith("*.")
    return Rule(
        prefix=prefix,
        origin=None if wild and not location else here,
        mirrors=tuple(_conf_mirror(m, table, path) for m in _tables(table, "mirror", path)),
        blocked=_flag(table, "blocked", path),
        source=str(path),
    )


def _conf_mirror(table: Table, parent: Table, path: Path) -> Place:
    location = _text(table, "location", path)
    if not location:
        raise UsageError(f"{path}: a [[registry.mirror]] without location")
    use = _text(table, "pull-from-mirror", path)
    if _flag(parent, "mirror-by-digest-only", path):
        use = use or "digest-only"
    if use not in _FROM_MIRROR:
        raise UsageError(f"{path}: pull-from-mirror is all, digest-only or tag-only, not {use!r}")
    return Place(
        location=location,
        insecure=_flag(table, "insecure", path),
        capabilities=_FROM_MIRROR[use],
    )


def read_hosts(path: Path) -> list[Rule]:
    """The rule of one hosts.toml; the folder's name is the host ("_default" is not taken)."""
    name = path.parent.name
    if name == "_default":
        return []
    value = _toml(path)
    server = _text(value, "server", path) or f"https://{name}"
    hosts = value.get("host", {})
    if not isinstance(hosts, dict):
        raise UsageError(f"{path}: host is not a table")
    places = [_place(url, table, path) for url, table in hosts.items()]
    push = [place for place in places if "push" in place.capabilities]
    return [
        Rule(
            prefix="docker.io" if name == "docker.io" else name,
            origin=push[0] if push else _place(server, value, path, origin=True),
            mirrors=tuple(places),
            source=str(path),
        )
    ]


def _place(url: str, table: object, path: Path, *, origin: bool = False) -> Place:
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {url} is not a table")
    parts = _split(url, path)
    folder = path.parent
    capabilities = _list(table, "capabilities", path) or sorted(_ALL if origin else _PULL)
    return Place(
        location=parts.netloc,
        schemes=(parts.scheme,),
        insecure=_flag(table, "skip_verify", path),
        capabilities=frozenset(capabilities),
        base=_base(parts.path, override=_flag(table, "override_path", path)),
        namespaced=not origin,
        authorities=tuple(str(folder / name) for name in _list(table, "ca", path)),
        client_certificates=_pairs(table, folder, path),
        headers=_header_pairs(table, path),
    )


def _split(url: str, path: Path) -> "SplitResult":
    from urllib.parse import urlsplit  # noqa: PLC0415  # only where a hosts.toml exists

    full = url if "://" in url else f"https://{url}"
    try:
        origin(full)
    except NotTrustedError as error:
        raise UsageError(f"{path}: {error}") from None
    return urlsplit(full)


def _base(path: str, *, override: bool) -> str:
    path = path.rstrip("/")
    return path if override or path.endswith("/v2") else f"{path}/v2"


def _pairs(table: Table, folder: Path, path: Path) -> tuple[tuple[str, str], ...]:
    """The `client` key: "file" or ["file", ...] or [["certificate", "key"], ...]."""
    value = table.get("client", ())
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list | tuple):
        raise UsageError(f"{path}: client is neither a name nor a list")
    found = []
    for entry in entries:
        pair = [entry, ""] if isinstance(entry, str) else entry
        if not isinstance(pair, list) or not all(isinstance(part, str) for part in pair):
            raise UsageError(f"{path}: client holds something else than names")
        certificate, key = (*pair, "")[:2]
        found.append((str(folder / certificate), str(folder / key) if key else ""))
    return tuple(found)


def _header_pairs(table: Table, path: Path) -> tuple[tuple[str, str], ...]:
    value = table.get("header", {})
    if not isinstance(value, dict):
        raise UsageError(f"{path}: header is not a table")
    return tuple(
        (str(k), v if isinstance(v, str) else ", ".join(map(str, v))) for k, v in value.items()
    )


def _toml(path: Path) -> Table:
    import tomllib  # noqa: PLC0415  # only where such a file exists

    try:
        return tomllib.loads(path.read_bytes().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _tables(table: Table, key: str, path: Path) -> Sequence[Table]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UsageError(f"{path}: {key} is not a list of tables")
    return value


def _text(table: Table, key: str, path: Path) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{path}: {key} is not a string")
    return value


def _flag(table: Table, key: str, path: Path) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise UsageError(f"{path}: {key} is neither true nor false")
    return value


def _list(table: Table, key: str, path: Path) -> list[str]:
    value = table.get(key, [])
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(item, str) for item in entries):
        raise UsageError(f"{path}: {key} is not a list of strings")
    return entries
