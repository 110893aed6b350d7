"""What a store holds, what goes and what stays, and stores that an older lazybuild made."""

import json
import sqlite3

import pytest
from support.soak import damage

from lazybuild.store import schema

pytestmark = pytest.mark.rootless

STEPS = """\
FROM {base}
RUN --mount=type=cache,id=kept,target=/c echo kept >> /c/log; cat /c/log | wc -l > /count
RUN echo second > /second
"""


@pytest.fixture
def context(registry, builder):
    return builder.context({"Dockerfile": STEPS.format(base=f"{registry.host}/base:1")})


def cached(run):
    return [step["cached"] for step in run.stats["steps"] if "RUN" in step["name"]]


def listed(builder, *flags):
    return json.loads(builder.run("du", "--format", "json", *flags).out)


def test_what_du_shows_prune_removes(builder, context):
    builder.build(context)
    (second,) = [item for item in listed(builder) if "second" in item["description"]]
    assert listed(builder, "--filter", f"id={second['id'][:20]}") == [second]
    assert listed(builder, "--filter", "description=echo second") == [second]
    assert listed(builder, "--filter", "until=1h") == []
    name = second["id"].removeprefix("sha256:")[:12]
    said = builder.run("prune", "-f", "--filter", f"id={name}", "--filter", "until=0s").out
    assert "1 cache record" in said
    assert second["id"] not in [item["id"] for item in listed(builder)]
    assert cached(builder.build(context)) == [True, False]


def test_cache_mounts_are_a_type_of_their_own(builder, context):
    builder.build(context)
    (mount,) = listed(builder, "--filter", "type=exec.cachemount")
    assert mount["kind"] == "mount"
    assert {item["kind"] for item in listed(builder, "--filter", "type=regular")} == {"layer"}
    kept = builder.run("prune", "-f", "--filter", "type=exec.cachemount", "--filter", "until=1h")
    assert "removed nothing" in kept.out
    gone = builder.run("prune", "-f", "--filter", "type=exec.cachemount")
    assert "removed 1 cache mount" in gone.out
    assert listed(builder, "--filter", "type=exec.cachemount") == []
    assert cached(builder.build(context)) == [True, True]


def test_as_much_as_has_to_be_free(builder, context):
    builder.build(context)
    plenty = builder.run("prune", "-f", "--min-free-space", "1m")
    assert "record" not in plenty.out
    everything = builder.run("prune", "-f", "--min-free-space", "1000t")
    assert "cache records" in everything.out
    assert damage(builder.root) == []


def test_a_store_of_the_first_schema_is_taken_over(builder, context):
    """As the first lazybuild made it: the hits stay, and nothing is asked of the user."""
    builder.build(context, "-t", "x")
    rows = sqlite3.connect(builder.root / "meta.db")
    rows.executescript("ALTER TABLE files RENAME TO newer;" + _table("files"))
    columns = "dev, ino, size, mtime, ctime, digest"
    rows.execute(f"INSERT INTO files SELECT {columns} FROM newer")
    rows.execute("DROP TABLE newer")
    rows.execute("PRAGMA user_version = 1")
    rows.commit()
    rows.close()
    assert cached(builder.build(context, "-t", "x")) == [True, True]
    rows = sqlite3.connect(builder.root / "meta.db")
    assert rows.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    rows.close()
    assert damage(builder.root) == []


def _table(name):
    """The statement of the first schema that makes a table."""
    first = schema.MIGRATIONS[0]
    start = first.index(f"CREATE TABLE {name} ")
    return first[start : first.index(";", start) + 1]
