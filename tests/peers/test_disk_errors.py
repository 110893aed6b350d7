"""A disk that can't read what it holds: a file system on a loop device whose end is gone."""

import subprocess

import pytest
from support.building import Builder
from support.disks import unreadable
from support.inside import inside

pytestmark = pytest.mark.root


def reading_fails(folder):
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    builder = Builder(folder)
    files = {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "text"}
    whole = builder.build(files, "-t", "a").digest
    with unreadable(builder.root / "blobs/sha256", folder):
        run = builder.build(files, "-t", "a", expect=None)
    suspect = (builder.root / "suspect").exists()
    return run.code, run.err, suspect, builder.build(files, "-t", "a").digest == whole


def test_a_read_error_is_said_and_puts_the_store_in_doubt(tmp_path):
    code, said, suspect, same = inside(reading_fails, tmp_path)
    assert "Traceback" not in said
    assert code == 125, said
    assert "Input/output error" in said
    assert "dmesg" in said
    assert suspect
    assert same
