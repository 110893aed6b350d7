"""HEALTHCHECK: NONE, or CMD with its intervals. Pure."""

import re

from lazybuild.dockerfile import flags
from lazybuild.dockerfile.durations import nanoseconds
from lazybuild.dockerfile.flags import Flags, Kind
from lazybuild.dockerfile.instructions import Healthcheck
from lazybuild.dockerfile.nodes import Node
from lazybuild.errors import DockerfileError
from lazybuild.oci.image import Healthcheck as Health

_MILLISECOND = 10**6
_INTERVALS = ("interval", "timeout", "start-period", "start-interval")
_FLAGS = dict.fromkeys((*_INTERVALS, "retries"), Kind.TEXT)


def decode_healthcheck(node: Node) -> Healthcheck:
    if not node.args:
        raise DockerfileError("HEALTHCHECK requires at least one argument", span=node.span)
    kind = node.args[0].upper()
    if kind == "NONE":
        return _none(node)
    given = flags.read(node, _FLAGS)
    if kind != "CMD":
        raise DockerfileError(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)', span=node.span)
    times = {name.replace("-", "_"): _interval(node, given, name) for name in _INTERVALS}
    health = Health(test=_test(node), retries=_retries(node, given), **times)
    return Healthcheck(node=node, health=health)


def _none(node: Node) -> Healthcheck:
    if len(node.args) > 1:
        raise DockerfileError("HEALTHCHECK NONE takes no arguments", span=node.span)
    return Healthcheck(node=node, health=Health(test=("NONE",)))


def _test(node: Node) -> tuple[str, ...]:
    words = node.args[1:] if node.json else (" ".join(node.args[1:]),)
    if not words or not (node.json or words[0]):
        raise DockerfileError("Missing command after HEALTHCHECK CMD", span=node.span)
    return ("CMD" if node.json else "CMD-SHELL", *words)


def _interval(node: Node, given: Flags, name: str) -> int:
    text, span = given.text(name), given.span(name, node.span)
    if not text:
        return 0
    try:
        duration = nanoseconds(text)
    except ValueError as error:
        raise DockerfileError(str(error), span=span) from error
    if duration and duration < _MILLISECOND:
        raise DockerfileError(f'Interval "{name}" cannot be less than 1ms', span=span)
    return duration


def _retries(node: Node, given: Flags) -> int:
    text, span = given.text("retries"), given.span("retries", node.span)
    if not text:
        return 0
    if not re.fullmatch(r"[-+]?[0-9]{1,20}", text):
        raise DockerfileError(f"invalid number of retries {text!r}", span=span)
    retries = int(text)
    if not 0 <= retries < 2**31:
        reason = "cannot be negative" if retries < 0 else "is out of range"
        raise DockerfileError(f"--retries {reason} ({retries})", span=span)
    return retries
