"""Stores on disks that fill up, run out of inodes, turn read-only or can't read what they hold."""

import subprocess
import time

import pytest
from support.building import Builder
from support.disks import filled, on_disk, read_only

pytestmark = pytest.mark.rootless

LIMIT = 20.0  # seconds; whoever takes longer tries again and again


def small(base):
    return {"Dockerfile": f"FROM {base}\nRUN echo small > /small\n"}


def failing(builder, code, *arguments):
    begun = time.monotonic()
    run = builder.run(*arguments, expect=None)
    assert "Traceback" not in run.err
    assert (run.code, time.monotonic() - begun < LIMIT) == (code, True), run.err
    return run.err


# --- no room -------------------------------------------------------------------------------------


def use_up_inodes(builder, base):
    good = builder.build(small(base), "-t", "good").digest
    many = "i=0; while [ $i -lt 4000 ]; do echo > /f$i || exit 1; i=$((i+1)); done"
    said = builder.build({"Dockerfile": f"FROM {base}\nRUN {many}\n"}, expect=102).err
    return said, good == builder.build(small(base), "-t", "good").digest


def test_a_step_that_uses_up_the_inodes_ends_with_102(base, folder):
    said, same = on_disk(folder, "size=200m,nr_inodes=1500", use_up_inodes, base)
    assert str(folder / "store") in said
    assert same


def pull_too_much(builder, base, large):
    good = builder.build(small(base), "-t", "good").digest
    said = failing(builder, 102, "pull", "--whole", large)
    return said, good == builder.build(small(base), "-t", "good").digest, rest(builder)


def rest(builder):
    return sorted(path.name for path in (builder.root / "tmp").iterdir())


@pytest.fixture
def large(registry, folder):
    """An image of 30 MB that is not lazy."""
    maker = Builder(folder / "maker")
    context = maker.context({"Dockerfile": "FROM scratch\nCOPY noise /\n"})
    with (context / "noise").open("wb") as file:
        subprocess.run(["head", "-c", "30000000", "/dev/urandom"], stdout=file, check=True)
    name = f"{registry.host}/large:1"
    maker.build(context, "-t", name, "--push", "--compression", "gzip")
    return name


def test_a_pull_that_fills_the_disk_ends_with_102_and_leaves_no_part_of_it(base, large, folder):
    said, same, left = on_disk(folder, "size=20m", pull_too_much, base, large)
    assert "No space left" in said
    assert "prune" in said
    assert same
    assert left == []


def test_a_base_that_fills_the_disk_ends_with_102(base, large, folder):
    def work(builder):
        files = {"Dockerfile": f"FROM {large}\nCOPY f /f\nRUN --network=none true\n", "f": ""}
        said = builder.build(files, "-t", "x", expect=102).err
        return said, rest(builder), builder.build(small(base), "-t", "good").code

    said, left, code = on_disk(folder, "size=20m", work)
    assert str(folder / "store") in said
    assert left == []
    assert code == 0


def with_no_room_at_all(builder, base):
    builder.build(small(base), "-t", "good")
    builder.run("rmi", "good")
    with filled(builder.root):
        said = failing(builder, 102, "build", builder.context(small(base)))
        removed = builder.run("prune", "--all", "--force", expect=None)
    return said, (removed.code, removed.err), builder.build(small(base), "-t", "good").code


def test_a_full_disk_can_be_pruned(base, folder):
    said, removed, code = on_disk(folder, "size=20m", with_no_room_at_all, base)
    assert "hint: make room" in said
    assert removed == (0, "")
    assert code == 0


# --- a disk that refuses -------------------------------------------------------------------------


def after_remount(builder, base):
    builder.build(small(base), "-t", "good")
    read_only(builder)
    ways = [["build", builder.context(small(base))], ["prune", "-a", "-f"], ["pull", base]]
    return [failing(builder, 125, *way) for way in ways]


def test_a_store_that_turned_read_only_is_said_at_once(base, folder):
    for said in on_disk(folder, "size=60m", after_remount, base):
        assert str(folder / "store") in said
