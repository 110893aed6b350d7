"""A small root directory of real programs, copied from this host with the libraries they need."""

import re
import shutil
import subprocess
from pathlib import Path

_CORE = (
    "sh cat cp ls id env pwd sleep true false mkdir rm touch chmod chown ln mv stat head sort wc "
    "readlink mknod uname hostname tr cut mkfifo kill echo printf grep perl"
)
CORE = tuple(_CORE.split())

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
_apt:x:42:65534::/nonexistent:/usr/sbin/nologin
alice:x:1000:1000:Alice:/home/alice:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = """\
root:x:0:
daemon:x:1:
adm:x:4:alice,syslog
tty:x:5:
audio:x:29:alice
alice:x:1000:
staff:x:50:
nogroup:x:65534:
"""


def make_rootfs(directory: Path, programs: tuple[str, ...] = ()) -> Path:
    """Fill `directory` with /bin programs, their libraries, and the files an image has in /etc.

    perl is there for its `syscall`; only its builtins work.
    """
    for name in ("bin", "etc", "tmp", "root", "home/alice", "dev", "proc", "sys", "usr", "var"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "tmp").chmod(0o1777)
    (directory / "etc/passwd").write_text(PASSWD)
    (directory / "etc/group").write_text(GROUP)
    for program in (*CORE, *programs):
        found = shutil.which(program, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        if found is None:
            raise FileNotFoundError(program)
        _copy(Path(found), directory / "bin" / program)
        _copy_libraries(found, directory)
    return directory


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.resolve(), target)
        target.chmod(0o755)


def _copy_libraries(program: str, directory: Path) -> None:
    run = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    for library in re.findall(r"(/\S+) \(0x", run.stdout):
        _copy(Path(library), directory / library.lstrip("/"))
