"""Builders with too little memory, too few processes, open files or time."""

import resource
import subprocess
import time

import pytest
from support.building import settled

pytestmark = pytest.mark.rootless

MB = 1 << 20


def small(base):
    return {"Dockerfile": f"FROM {base}\nRUN echo small > /small\n"}


def limited(builder, limits, context, *flags):
    """A build under resource limits: its exit code and what it said."""

    def lower():
        for number, value in limits.items():
            resource.setrlimit(number, (value, value))

    process = builder.start("build", "-t", "x", *flags, context, preexec_fn=lower)
    _, err = process.communicate(timeout=120)
    assert b"Traceback" not in err, err.decode()
    return process.returncode, err.decode()


@pytest.mark.parametrize("megabytes", [100, 300])
def test_too_few_addresses_for_threads_are_refused(builder, base, megabytes):
    context = builder.context(small(base))
    code, said = limited(builder, {resource.RLIMIT_AS: megabytes * MB}, context)
    assert code == 102, said
    assert f"limit of {megabytes} MB on address space" in said


@pytest.mark.parametrize("megabytes", [40, 60])
def test_without_memory_a_build_fails_and_says_so(builder, base, megabytes):
    context = builder.context(small(base))
    code, said = limited(builder, {resource.RLIMIT_DATA: megabytes * MB}, context)
    assert code == 102, said
    assert "no more memory" in said or "lazy file system: " in said
    assert builder.build(small(base), "-t", "x").code == 0


def test_memory_does_not_grow_with_what_is_copied(builder, base):
    context = builder.context({"Dockerfile": f"FROM {base}\nCOPY big /big\nRUN cat /big > /two\n"})
    with (context / "big").open("wb") as file:
        subprocess.run(["head", "-c", "150000000", "/dev/zero"], stdout=file, check=True)
    code, said = limited(builder, {resource.RLIMIT_DATA: 200 * MB}, context)
    assert code == 0, said


def test_without_processes_a_build_fails_and_says_so(builder, base):
    context = builder.context(small(base))
    code, said = limited(builder, {resource.RLIMIT_NPROC: 0}, context)
    assert code in {102, 125}, said
    assert "Resource temporarily unavailable" in said or "processes" in said


@pytest.mark.parametrize("count", [8, 24])
def test_without_open_files_a_build_fails_and_says_so(builder, base, count):
    context = builder.context(small(base))
    code, said = limited(builder, {resource.RLIMIT_NOFILE: count}, context)
    assert code in {0, 102}, said
    assert code == 0 or "open files" in said
    assert builder.build(small(base), "-t", "x").code == 0


def test_a_build_ends_when_its_time_is_over(builder, base):
    context = builder.context({"Dockerfile": f"FROM {base}\nRUN echo a > /a\nRUN sleep 60\n"})
    begun = time.monotonic()
    run = builder.run("build", "--timeout", "3s", context, expect=1)
    assert time.monotonic() - begun < 20
    assert "after 3s (--timeout)" in run.err
    assert settled(builder.leftovers) == []
