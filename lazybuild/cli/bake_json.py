"""Bake files in JSON (`docker-bake.json`, or what `docker buildx bake --print` prints). Pure."""

import json
import re
from collections.abc import Mapping

from lazybuild.cli.bake_targets import Plan, checked_name, text, texts
from lazybuild.errors import UsageError

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def read(data: str, path: str, environment: Mapping[str, str]) -> Plan:
    """`variable` blocks are filled in from the environment, else from their default."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from error
    sections = _section(document, path)
    unknown = sorted(set(sections) - {"group", "target", "variable"})
    if unknown:
        raise UsageError(f"{path}: {unknown[0]} is not supported")
    known = _variables(_section(sections.get("variable"), path), environment, path)
    groups = _section(sections.get("group"), path)
    return Plan(
        targets={
            checked_name(name): _section(_filled(fields, known, path), path)
            for name, fields in _section(sections.get("target"), path).items()
        },
        groups={
            checked_name(name): tuple(texts(_section(fields, path).get("targets"), path))
            for name, fields in groups.items()
        },
    )


def _section(value: object, path: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{path}: expected a mapping")
    return value


def _variables(
    section: Mapping[str, object], environment: Mapping[str, str], path: str
) -> Mapping[str, str]:
    found = {}
    for name, fields in section.items():
        default = _section(fields, path).get("default")
        given = "" if default is None else text(default, f"{path}: variable {name}")
        found[name] = environment.get(name, given)
    return found


def _filled(value: object, known: Mapping[str, str], path: str) -> object:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _value(match[1].strip(), known, path), value)
    if isinstance(value, Mapping):
        return {key: _filled(item, known, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, known, path) for item in value]
    return value


def _value(name: str, known: Mapping[str, str], path: str) -> str:
    if not _NAME.match(name):
        raise UsageError(f"{path}: ${{{name}}}: only names of variables are understood")
    if name not in known:
        raise UsageError(f"{path}: there is no variable {name}")
    return known[name]
