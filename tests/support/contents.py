"""What is in files, for tests that look for what must not be there."""

import os
import subprocess

CANARY = "canary, do not read\n"  # in a file that no build may show or change


def everything(folder):
    """The bytes of all files, as they lie there and unpacked where they are gzip."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
            data = path.read_bytes()
            found.append(data)
            if data[:2] == b"\x1f\x8b":
                run = subprocess.run(["gzip", "-dc"], input=data, capture_output=True, check=False)
                found.append(run.stdout)
    return b"\n".join(found)
