"""Frontend images for tests: this Python with grpc and our modules, and a program over it."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from support.building import SOURCES
from support.rootfs import make_rootfs

STDLIB = Path(sysconfig.get_path("stdlib"))
SITE = Path(sysconfig.get_path("purelib"))
SHELL = """\
#!/bin/sh
for option in $(env | grep -o '^BUILDKIT_FRONTEND_OPT_[0-9]*'); do
    eval "value=\\$$option"
    case $value in build-arg:CODE=*) eval "${value#*CODE=}"; exit;; esac
done
"""
LABELS = 'LABEL moby.buildkit.frontend.network.none="true" moby.buildkit.frontend.caps="{caps}"'
CAPS = ("inputs", "subrequests", "contexts", "gitquerystring")
UNUSED = shutil.ignore_patterns(
    "test",
    "tests",
    "lib2to3",
    "idlelib",
    "ensurepip",
    "tkinter",
    "config-*",
    "*-packages",
    "*.pyx*",
)
ROOMS = ("dockerfile", "llb", "oci", "wire", "snapshots", "estargz", "linux")


def make_python(root: Path) -> Path:
    """A root directory in which `python3 -m frontend` runs."""
    make_rootfs(root, ("python3",))
    shutil.copytree(STDLIB, root / STDLIB.relative_to("/"), ignore=UNUSED)
    for name in ("grpc", "google", "msgspec"):
        shutil.copytree(SITE / name, root / "opt/site" / name, ignore=UNUSED)
    shutil.copy(SITE / "typing_extensions.py", root / "opt/site")
    app = root / "opt/app"
    shutil.copytree(SOURCES / "frontend", app / "frontend", ignore=UNUSED)
    for room in ROOMS:
        shutil.copytree(SOURCES / "lazybuild" / room, app / "lazybuild" / room, ignore=UNUSED)
    for file in (SOURCES / "lazybuild").glob("*.py"):
        shutil.copy(file, app / "lazybuild")
    _copy_libraries(root)
    return root


def _copy_libraries(root: Path) -> None:
    own = {*root.glob("opt/site/**/*.so"), *root.glob("usr/lib/**/lib-dynload/*.so")}
    said = subprocess.run(["ldd", *own], capture_output=True, text=True, check=False).stdout
    for library in set(re.findall(r"(/\S+) \(0x", said)):
        target = root / library.lstrip("/")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(library, target)


def dockerfile(entrypoint: str) -> str:
    caps = ",".join(f"moby.buildkit.frontend.{name}" for name in CAPS)
    return (
        "FROM scratch\nCOPY . /\n"
        "ENV PYTHONPATH=/opt/app:/opt/site PYTHONDONTWRITEBYTECODE=1\n"
        f"{LABELS.format(caps=caps)}\nENTRYPOINT {entrypoint}\n"
    )


def push_frontends(builder, host: str) -> str:
    """Push our frontend as `HOST/own:1`, and two that do what they are told.

    `HOST/scripted:1` runs the Python that the build hands it as the build argument CODE;
    `HOST/shell:1`, over the registry's base image and without an entrypoint, runs a shell's.
    """
    context = builder.context({"run": (SHELL, 0o755)})
    (context / "Dockerfile").write_text(f"FROM {host}/base:1\nCOPY run /\n")
    builder.build(context, "-t", f"{host}/shell:1", "--push")
    context = builder.context({})
    make_python(context)
    for name, entrypoint in (
        ("own", '["/bin/python3", "-m", "frontend"]'),
        ("scripted", '["/bin/python3", "/scripted.py"]'),
    ):
        shutil.copy(Path(__file__).parent / "scripted_frontend.py", context / "scripted.py")
        (context / "Dockerfile").write_text(dockerfile(entrypoint))
        (context / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
        builder.build(context, "-t", f"{host}/{name}:1", "--push")
    return host
