"""Images and caches in directories of this machine, at a BuildKit elsewhere."""

import json

import pytest
from support.building import Builder

pytestmark = pytest.mark.root


@pytest.fixture
def lazybuild(tmp_path):
    return lambda *words, code=0: Builder(tmp_path).run(*words, expect=code).err


def context(folder, text):
    folder.mkdir()
    (folder / "Dockerfile").write_text(text)
    (folder / "file").write_text(folder.name)
    return folder


@pytest.mark.parametrize("kind", ["oci-layout", "docker-archive"])
def test_an_image_of_this_machine_is_a_named_context_there(lazybuild, moby, tmp_path, kind):
    place, out = tmp_path / "image", tmp_path / "out"
    output = (
        f"type=oci,tar=false,dest={place}" if kind == "oci-layout" else f"type=docker,dest={place}"
    )
    base = context(tmp_path / "base", "FROM scratch\nCOPY file /base\nENV FROM=layout\n")
    lazybuild("build", base, "-o", output, "-t", "made:1")
    app = context(tmp_path / "app", 'FROM mine\nCOPY file /app\nCMD ["x"]\n')
    flags = ["--builder", f"docker://{moby.socket}", "--build-context", f"mine={kind}:{place}"]
    lazybuild("build", app, *flags, "-o", f"type=local,dest={out}")
    assert ((out / "base").read_text(), (out / "app").read_text()) == ("base", "app")
    lazybuild("build", app, *flags, "-t", f"from-{kind}:1")
    shown = moby.run("docker", "image", "inspect", f"from-{kind}:1").stdout
    assert "FROM=layout" in json.loads(shown)[0]["Config"]["Env"]


def test_a_cache_in_a_directory_comes_back_to_a_daemon_that_has_forgotten(
    lazybuild, moby, tmp_path, base
):
    text = f"FROM {base} AS one\nRUN --network=none cat /proc/sys/kernel/random/uuid >/id\n"
    folder = context(tmp_path / "context", f"{text}FROM scratch\nCOPY --from=one /id /\n")
    cache = tmp_path / "cache"
    flags = ["build", folder, "--builder", f"docker://{moby.socket}"]
    first, second, third = (tmp_path / name for name in ("one", "two", "three"))
    to = ["--cache-to", f"type=local,dest={cache},mode=max,tag=main"]
    lazybuild(*flags, *to, "-o", f"type=local,dest={first}")
    moby.run("docker", "builder", "prune", "-af")
    taken = ["--cache-from", f"type=local,src={cache},tag=main"]
    lazybuild(*flags, *taken, "-o", f"type=local,dest={second}")
    assert (first / "id").read_text() == (second / "id").read_text()
    moby.run("docker", "builder", "prune", "-af")
    lazybuild(*flags, "-o", f"type=local,dest={third}")
    assert (first / "id").read_text() != (third / "id").read_text()


def test_a_cache_that_is_not_there_is_a_warning(lazybuild, moby, tmp_path):
    folder = context(tmp_path / "context", "FROM scratch\nCOPY file /\n")
    flags = ["build", folder, "--builder", f"docker://{moby.socket}"]
    taken = ["--cache-from", f"type=local,src={tmp_path / 'none'}"]
    assert "WARNING: cache" in lazybuild(*flags, *taken)
    assert "there is no 'latest' in it" in lazybuild(*flags, *taken, "--cache-strict", code=2)
