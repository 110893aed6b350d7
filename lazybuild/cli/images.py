"""`lazybuild images`: what the store has names for."""

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import click

from lazybuild.cli import config
from lazybuild.cli.summary import megabytes
from lazybuild.cli.table import table
from lazybuild.errors import IntegrityError
from lazybuild.oci import codec, reference
from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.image import Manifest
from lazybuild.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`size` is that of the whole image as it is shipped, in bytes; `created` an RFC 3339 time."""

    name: str
    digest: str
    id: str
    platform: str
    size: int
    created: str

    def document(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


@click.command("images", context_settings=config.CONTEXT)
@click.argument("name", default="", metavar="[NAME]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print digests only.")
@config.root_option
def command(name: str, *, as_json: bool, quiet: bool, root: str) -> None:
    """List the images in the store: name, digest, size, age."""
    found = [row for row in rows(root) if matches(row.name, name)]
    if as_json:
        click.echo(json.dumps([row.document() for row in found], indent=2))
    elif quiet:
        for digest in dict.fromkeys(row.digest for row in found):
            click.echo(digest)
    else:
        head = ["NAME", "DIGEST", "SIZE", "CREATED"]
        lines = [
            [row.name, row.digest.removeprefix("sha256:")[:12], megabytes(row.size), age(row)]
            for row in found
        ]
        click.echo(table([head, *lines]), nl=False)


def rows(root: str) -> list[Row]:
    with Store(config.store_root(root)) as store:
        return [
            _row(store, name, descriptor, named)
            for name, (descriptor, named) in store.meta.images().items()
        ]


def _row(store: Store, name: str, descriptor: Descriptor, named: float) -> Row:
    stamp = datetime.fromtimestamp(named, UTC).isoformat(timespec="seconds")
    row = Row(
        name=reference.parse(name).familiar,
        digest=descriptor.digest,
        id="",
        platform="",
        size=descriptor.size,
        created=stamp.replace("+00:00", "Z"),
    )
    try:
        return _detailed(store, row, descriptor)
    except (FileNotFoundError, IntegrityError) as error:
        click.echo(f"WARNING: {row.name}: {error}", err=True)
        return row


def _detailed(store: Store, row: Row, descriptor: Descriptor) -> Row:
    """With what manifest and config say; an index has neither platform nor age of its own."""
    document = codec.parse_document(store.blobs.read(descriptor.digest))
    if not isinstance(document, Manifest):
        return row
    said = codec.parse_config(store.blobs.read(document.config.digest))
    layers = sum(layer.size for layer in document.layers)
    return replace(
        row,
        id=document.config.digest,
        platform=f"{said.os}/{said.architecture}",
        size=row.size + document.config.size + layers,
        created=said.created or row.created,
    )


def matches(name: str, wanted: str) -> bool:
    """All, those of one repository, or one name."""
    return not wanted or name == wanted or name.rpartition(":")[0] == wanted


def age(row: Row) -> str:
    try:
        seconds = time.time() - datetime.fromisoformat(row.created).timestamp()
    except ValueError:
        return row.created
    for size, unit in ((86400 * 365, "year"), (86400, "day"), (3600, "hour"), (60, "minute")):
        count = int(seconds // size)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "now"
