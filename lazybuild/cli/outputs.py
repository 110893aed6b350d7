"""Reads `-o`, `--push` and `--load` as buildx does (docs: buildx build, "--output")."""

import csv

from lazybuild.errors import UsageError
from lazybuild.request import Output

TYPES = ("image", "registry", "oci", "docker", "local", "tar", "load")
NEED_DEST = ("local", "tar")


def parse(text: str) -> Output:
    """`type=oci,dest=FILE`; a bare path is a local directory, `-` a tar on standard output."""
    if text == "-":
        return Output(type="tar", dest="-")
    if "=" not in text:
        return Output(type="local", dest=text)
    options = pairs(text, "--output")
    kind, dest = options.pop("type", ""), options.pop("dest", "")
    if kind not in TYPES:
        raise UsageError(f"--output {text!r}: type must be one of {', '.join(TYPES[:-1])}")
    if kind in NEED_DEST and not dest:
        raise UsageError(f"--output {text!r}: type={kind} needs dest=")
    return finished(kind, dest, options)


def finished(kind: str, dest: str, options: dict[str, str]) -> Output:
    """`image` with push=true is `registry`; `docker` without a file goes into a running Docker."""
    if kind == "image" and options.get("push") == "true":
        kind = "registry"
    if kind == "docker" and not dest:
        kind = "load"
    if kind == "oci" and not dest:
        dest = "-"
    return Output(type=kind, dest=dest, options=options)


def pairs(text: str, flag: str) -> dict[str, str]:
    """`a=1,"b=x,y"` as a dictionary; names are lower-cased."""
    found = {}
    for field in next(csv.reader([text]), []):
        name, equals, value = field.partition("=")
        if not equals or not name:
            raise UsageError(f"{flag} {text!r}: expected name=value, got {field!r}")
        found[name.strip().lower()] = value
    return found


def collect(texts: tuple[str, ...], *, push: bool, load: bool) -> tuple[Output, ...]:
    outputs = [parse(text) for text in texts]
    if push:
        outputs.append(Output(type="registry"))
    if load:
        outputs.append(Output(type="load"))
    if sum(output.dest == "-" for output in outputs) > 1:
        raise UsageError("only one output can go to standard output")
    return tuple(outputs)
