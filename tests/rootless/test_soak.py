"""One store, many builders, some of them killed; and a store on a disk that is full."""

import re
import subprocess
from pathlib import Path

import pytest
from support.building import Builder, settled
from support.inside import inside
from support.soak import Soak, damage, leftovers

pytestmark = pytest.mark.rootless


def test_killed_builders_harm_neither_the_store_nor_the_others(registry, folder):
    builder = Builder(folder / "many")
    (folder / "many").mkdir()
    soak = Soak(builder, f"{registry.host}/base:1", seed=7, kill=0.35)
    outcome = soak.run(count=24, parallel=4)
    assert outcome.failures == []
    assert outcome.killed >= 3
    assert settled(builder.leftovers) == []
    assert damage(builder.root) == []
    alone = soak.serial(Builder(folder / "alone"))
    after = soak.serial(builder)
    assert after == alone
    for name, digests in outcome.digests.items():
        assert digests == {alone[name]}, name
    assert leftovers(builder) == []
    assert damage(builder.root) == []
    assert soak.serial(builder) == alone


# --- a full disk ---------------------------------------------------------------------------------


def on_small_disk(folder, size, work, *arguments):
    """`work(builder, ...)` in a namespace where the store is a small file system of its own."""

    def run():
        (folder / "store").mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs"]
        subprocess.run([*mount, folder / "store"], check=True)
        return work(Builder(folder), *arguments)

    return inside(run)


def fill_by_run(builder, base):
    files = {"Dockerfile": f"FROM {base}\nRUN echo small > /small\n"}
    good = builder.build(files, "-t", "good")
    more = {
        "Dockerfile": files["Dockerfile"]
        + "RUN i=0; while [ $i -lt 400 ]; do head -c 1000000 /dev/urandom >> /big || exit 1;"
        " i=$((i+1)); done\n"
    }
    full = builder.build(more, "-t", "full", expect=102)
    again = builder.build(files, "-t", "good")
    return good.digest, again.digest, full.err, all_small(builder.root)


def all_small(root: Path):
    return not [path for path in root.rglob("*") if path.name == "big"]


def test_a_step_that_fills_the_disk_ends_with_102_and_leaves_a_store(registry, folder):
    good, again, said, small = on_small_disk(folder, "60m", fill_by_run, f"{registry.host}/base:1")
    assert again == good
    assert "no space left" in said.lower() or "full" in said
    assert f"{folder}/store" in said
    assert small


def fill_by_copy(builder, base):
    context = builder.context({"Dockerfile": f"FROM {base}\nCOPY big /big\n"})
    with (context / "big").open("wb") as file, Path("/dev/urandom").open("rb") as noise:
        for _ in range(40):
            file.write(noise.read(1 << 20))
    full = builder.build(context, "-t", "full", expect=102)
    good = builder.build({"Dockerfile": f"FROM {base}\nRUN echo x > /x\n"}, "-t", "good")
    return full.err, good.code


def test_a_copy_that_fills_the_disk_ends_with_102(registry, folder):
    said, code = on_small_disk(folder, "30m", fill_by_copy, f"{registry.host}/base:1")
    assert "hint: make room" in said
    assert code == 0


def fill_by_old_cache(builder, base):
    """What an image without a name left goes when there is no room for another."""

    def noise(number):
        return {
            "Dockerfile": f"FROM {base}\nRUN head -c 14000000 /dev/urandom > /noise{number}\n",
        }

    builder.build(noise(1), "--no-cache")
    backdate(builder.root)
    return builder.build(noise(2), "-t", "second").err


def backdate(root):
    """As if all of it had been used yesterday."""
    import os  # noqa: PLC0415
    import sqlite3  # noqa: PLC0415
    import time  # noqa: PLC0415

    then = time.time() - 86400
    with sqlite3.connect(root / "meta.db") as database:
        database.execute("UPDATE layers SET used = ?", (then,))
        database.execute("UPDATE records SET used = ?", (then,))
    for path in (root / "blobs/sha256").iterdir():
        os.utime(path, (then, then))


def test_a_full_disk_is_emptied_of_old_cache_and_tried_again(registry, folder):
    said = on_small_disk(folder, "52m", fill_by_old_cache, f"{registry.host}/base:1")
    assert "of cache and try again" in said


def over_the_limit(builder, base):
    builder.build(
        {"Dockerfile": f"FROM {base}\nRUN head -c 3000000 /dev/urandom > /a\n"}, "-t", "a"
    )
    builder.run("rmi", "a")
    backdate(builder.root)
    run = builder.build(
        {"Dockerfile": f"FROM {base}\nRUN echo b > /b\n"}, "-t", "b", "--keep-storage", "2m"
    )
    return run.err


def test_a_cache_over_its_limit_is_made_smaller(registry, folder):
    said = on_small_disk(folder, "200m", over_the_limit, f"{registry.host}/base:1")
    assert re.search(r"the cache had \d MB: removed [1-9] MB", said)
