"""What a bake file asks for, as values: targets and groups, merged, chosen and put in order. Pure.

The words are those of buildx (docs: "Bake file reference"); a compose file is brought into them by
`bake_compose`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lazybuild.errors import UsageError

Fields = Mapping[str, object]

DEFAULT = "default"
MERGED = ("args", "labels", "contexts")
LINK = "target:"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")

ONE = {
    "dockerfile": "--file",
    "target": "--target",
    "network": "--network",
    "shm-size": "--shm-size",
}
MANY = {
    "tags": "--tag",
    "platforms": "--platform",
    "cache-from": "--cache-from",
    "cache-to": "--cache-to",
    "output": "--output",
    "secret": "--secret",
    "ssh": "--ssh",
    "ulimits": "--ulimit",
    "annotations": "--annotation",
    "attest": "--attest",
    "no-cache-filter": "--no-cache-filter",
    "entitlements": "--allow",
}
PAIRS = {
    "args": "--build-arg",
    "labels": "--label",
    "contexts": "--build-context",
    "extra-hosts": "--add-host",
}
SWITCHES = {"no-cache": "--no-cache", "pull": "--pull"}
KNOWN = {*ONE, *MANY, *PAIRS, *SWITCHES, "context", "dockerfile-inline", "inherits", "description"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the files define. `default` is what is built when nothing is named."""

    targets: Mapping[str, Fields] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def merged(plans: Sequence[Plan]) -> Plan:
    """Later files add to the earlier ones, and win."""
    targets: dict[str, Fields] = {}
    groups: dict[str, tuple[str, ...]] = {}
    for plan in plans:
        groups |= plan.groups
        for name, fields in plan.targets.items():
            targets[name] = over(targets.get(name, {}), fields)
    return Plan(targets=targets, groups=groups)


def over(below: Fields, above: Fields) -> Fields:
    """Mappings are merged, everything else is replaced."""
    found = {**below, **above}
    for name in MERGED:
        one, two = below.get(name), above.get(name)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            found[name] = {**one, **two}
    return found


def resolved(plan: Plan, name: str, seen: tuple[str, ...] = ()) -> Fields:
    """A target with what it inherits."""
    if name not in plan.targets:
        raise UsageError(f"no target {name!r}", hint=f"there are {', '.join(sorted(plan.targets))}")
    if name in seen:
        raise UsageError(f"target {name} inherits from itself")
    own = plan.targets[name]
    found: Fields = {}
    for parent in texts(own.get("inherits"), f"{name}: inherits"):
        found = over(found, resolved(plan, parent, (*seen, name)))
    return {key: value for key, value in over(found, own).items() if key != "inherits"}


def chosen(plan: Plan, names: Sequence[str]) -> list[str]:
    """The targets that names stand for, groups opened, each once."""
    wanted = list(names) or [DEFAULT]
    if not names and DEFAULT not in plan.groups and DEFAULT not in plan.targets:
        wanted = list(plan.targets)
    found = dict.fromkeys(target for name in wanted for target in _opened(plan, name, ()))
    if not found:
        raise UsageError("there is nothing to build")
    return list(found)


def _opened(plan: Plan, name: str, seen: tuple[str, ...]) -> Iterator[str]:
    if name in seen:
        raise UsageError(f"group {name} holds itself")
    if name in plan.groups:
        for member in plan.groups[name]:
            yield from _opened(plan, member, (*seen, name))
        return
    resolved(plan, name)
    yield name


def ordered(targets: Mapping[str, Fields], plan: Plan) -> list[str]:
    """The targets, each after those that its contexts name (`target:NAME`)."""
    found: dict[str, None] = {}

    def add(name: str, seen: tuple[str, ...]) -> None:
        if name in seen:
            raise UsageError(f"target {name} needs itself")
        fields = targets.get(name) or resolved(plan, name)
        for other in links(fields).values():
            add(other, (*seen, name))
        found[name] = None

    for name in targets:
        add(name, ())
    return list(found)


def links(fields: Fields) -> dict[str, str]:
    """Contexts that are other targets."""
    contexts = pairs(fields.get("contexts"), "contexts")
    return {
        name: value.removeprefix(LINK)
        for name, value in contexts.items()
        if value is not None and value.startswith(LINK)
    }


def words(name: str, fields: Fields) -> list[str]:
    """A target as arguments of `lazybuild build`, without its context and linked contexts."""
    unknown = sorted(set(fields) - KNOWN)
    if unknown:
        raise UsageError(f"target {name}: {unknown[0]} is not supported")
    found: list[str] = []
    for key, flag in ONE.items():
        if fields.get(key):
            found.append(f"{flag}={text(fields[key], f'{name}: {key}')}")
    for key, flag in MANY.items():
        found += [f"{flag}={value}" for value in texts(fields.get(key), f"{name}: {key}")]
    for key, flag in PAIRS.items():
        skipped = links(fields) if key == "contexts" else {}
        for one, value in pairs(fields.get(key), f"{name}: {key}").items():
            if one not in skipped:
                found.append(f"{flag}={one}" if value is None else f"{flag}={one}={value}")
    found += [flag for key, flag in SWITCHES.items() if fields.get(key) in (True, "true")]
    return found


# --- hostile or careless text --------------------------------------------------------------------


def text(value: object, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise UsageError(f"{where}: expected text")


def texts(value: object, where: str) -> list[str]:
    """A list of texts; one text is a list of one, and a mapping (`{type: registry, ref: x}`) is
    written as `type=registry,ref=x`.
    """
    if value is None:
        return []
    items = value if isinstance(value, list | tuple) else [value]
    return [_entry(item, where) for item in items]


def _entry(item: object, where: str) -> str:
    if isinstance(item, Mapping):
        return ",".join(f"{key}={text(value, where)}" for key, value in item.items())
    return text(item, where)


def pairs(value: object, where: str) -> dict[str, str | None]:
    """A mapping, or a list of NAME=VALUE; None is a name without a value."""
    if isinstance(value, Mapping):
        return {str(k): None if v is None else text(v, where) for k, v in value.items()}
    found: dict[str, str | None] = {}
    for item in texts(value, where):
        name, equals, rest = item.partition("=")
        found[name] = rest if equals else None
    return found


def checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.match(name):
        raise UsageError(f"not a name of a target: {name!r}")
    return name
