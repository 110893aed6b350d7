"""The `build:` sections of a compose file as bake targets. The door to YAML.

Source: compose-spec, build.md and 12-interpolation.md. Relative paths count from the file.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from lazybuild.cli.bake_targets import DEFAULT, LINK, Fields, Plan, checked_name, over, pairs, texts
from lazybuild.errors import UsageError

MAX_FILE = 4 << 20
MAX_VALUES = 100_000
SERVICE = "service:"
PLAIN = {
    "args": "args",
    "labels": "labels",
    "target": "target",
    "network": "network",
    "shm_size": "shm-size",
    "cache_from": "cache-from",
    "cache_to": "cache-to",
    "extra_hosts": "extra-hosts",
    "no_cache": "no-cache",
    "pull": "pull",
    "platforms": "platforms",
    "ssh": "ssh",
    "dockerfile_inline": "dockerfile-inline",
    "entitlements": "entitlements",
}
IGNORED = {"isolation", "provenance", "sbom"}

_VARIABLE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)(?:(:?[-+?])([^{}]*))?\})")


def read(data: str, path: Path, environment: Mapping[str, str]) -> Plan:
    """What a compose file builds; its group `default` is every service that is built."""
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise UsageError(f"{path}: no services in it")
    filled = _Filler(environment, str(path)).mapping(document)
    secrets = _mapping(filled.get("secrets"), f"{path}: secrets")
    targets = {
        checked_name(name): _target(str(name), service, secrets, path.parent)
        for name, service in _mapping(filled["services"], str(path)).items()
        if isinstance(service, dict) and service.get("build")
    }
    return Plan(targets=targets, groups={DEFAULT: tuple(targets)})


def _target(
    name: str, service: Mapping[str, object], secrets: Mapping[str, object], home: Path
) -> Fields:
    build = service["build"]
    section = {"context": build} if isinstance(build, str) else _mapping(build, f"{name}: build")
    known = {*PLAIN, *IGNORED, "context", "dockerfile", "tags", "secrets", "x-bake", "ulimits"}
    unknown = sorted(set(section) - known - {"additional_contexts"})
    if unknown:
        raise UsageError(f"service {name}: build.{unknown[0]} is not supported")
    found: dict[str, object] = {PLAIN[key]: value for key, value in section.items() if key in PLAIN}
    found["context"] = _place(str(section.get("context", ".")), home)
    if section.get("dockerfile"):
        found["dockerfile"] = str(section["dockerfile"])
    image = [str(service["image"])] if service.get("image") else []
    found["tags"] = list(dict.fromkeys([*image, *texts(section.get("tags"), f"{name}: tags")]))
    found["contexts"] = _contexts(section.get("additional_contexts"), name, home)
    found["ulimits"] = _ulimits(section.get("ulimits"), name)
    found["secret"] = [
        _secret(item, secrets, name, home) for item in _list(section.get("secrets"), name)
    ]
    return over(found, _mapping(section.get("x-bake"), f"{name}: x-bake"))


def _place(value: str, home: Path) -> str:
    if "://" in value or value.startswith("git@"):
        return value
    return str((home / value).absolute())


def _contexts(value: object, name: str, home: Path) -> dict[str, str]:
    found = {}
    for key, place in pairs(value, f"{name}: additional_contexts").items():
        given = place or ""
        linked = given.startswith(SERVICE)
        found[key] = LINK + given.removeprefix(SERVICE) if linked else _place(given, home)
    return found


def _ulimits(value: object, name: str) -> list[str]:
    found = []
    for key, limit in _mapping(value, f"{name}: ulimits").items():
        both = _mapping(limit, name) if isinstance(limit, Mapping) else {"soft": limit}
        found.append(f"{key}={both.get('soft')}:{both.get('hard', both.get('soft'))}")
    return found


def _secret(item: object, secrets: Mapping[str, object], name: str, home: Path) -> str:
    """`id=x,src=FILE` or `id=x,env=NAME`, as the top of the file defines the secret."""
    given = _mapping(item, f"{name}: secrets") if isinstance(item, Mapping) else {"source": item}
    source = str(given.get("source", ""))
    defined = _mapping(secrets.get(source), f"secret {source}")
    label = str(given.get("target") or source)
    if defined.get("file"):
        return f"id={label},src={_place(str(defined['file']), home)}"
    if defined.get("environment"):
        return f"id={label},env={defined['environment']}"
    raise UsageError(f"service {name}: secret {source!r} is defined nowhere")


def _list(value: object, name: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise UsageError(f"service {name}: expected a list")
    return value


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: expected a mapping")
    return value


# --- variables -----------------------------------------------------------------------------------


class _Filler:
    """Replaces variables in every text. Aliases may make a small file huge: there is a limit."""

    def __init__(self, environment: Mapping[str, str], where: str) -> None:
        self._environment = environment
        self._where = where
        self._left = MAX_VALUES

    def mapping(self, value: Mapping[object, object]) -> dict[str, object]:
        return {str(key): self._fill(item) for key, item in value.items()}

    def _fill(self, value: object) -> object:
        self._left -= 1
        if self._left < 0:
            raise UsageError(f"{self._where}: more than {MAX_VALUES} values")
        if isinstance(value, str):
            return interpolated(value, self._environment, self._where)
        if isinstance(value, Mapping):
            return self.mapping(value)
        if isinstance(value, list):
            return [self._fill(item) for item in value]
        return value


def interpolated(value: str, environment: Mapping[str, str], where: str) -> str:
    """`$NAME`, `${NAME}`, and with `:-x`, `-x`, `:+x`, `+x`, `:?x`, `?x`; `$$` is a dollar."""

    def put(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name is None:
            return "$"
        found, how, word = environment.get(name), match[3] or "", match[4] or ""
        missing = found is None or (how.startswith(":") and not found)
        if how.endswith("?") and missing:
            raise UsageError(f"{where}: {name} is needed: {word or 'it is not set'}")
        if how.endswith("+"):
            return "" if missing else word
        return (word if how else "") if missing else found or ""

    return _VARIABLE.sub(put, value)
