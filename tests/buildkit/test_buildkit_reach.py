"""The ways to a BuildKit, each with a real daemon at its end, and what is said when one is shut."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import certificates, dialstdio

pytestmark = pytest.mark.root

SOURCES = Path(__file__).parents[2]
EXEC = """\
#!/bin/sh
echo "$@" >> {log}
[ "$3" = {name} ] || {{ echo "Error: no such {name}: $3" >&2; exit 1; }}
exec {python} {dialstdio} {socket}
"""


@pytest.fixture
def context(tmp_path, base):
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "file").write_text("from here")
    text = f"FROM {base}\nRUN --network=none --mount=type=bind,target=/c cp /c/file /made\n"
    (folder / "Dockerfile").write_text(f"{text}FROM scratch\nCOPY --from=0 /made /\n")
    return folder


@pytest.fixture
def build(tmp_path, context):
    """Build there; gives what was said, once the file came back."""

    def run(address, *flags, code=0):
        out = tmp_path / "out"
        words = [sys.executable, "-m", "lazybuild", "build", "--builder", address, *flags]
        done = subprocess.run(
            [*map(str, words), "-o", f"type=local,dest={out}", context],
            env={
                "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(SOURCES),
                "HOME": str(tmp_path),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr[-4000:]
        assert "Traceback" not in done.stderr
        assert code or (out / "made").read_text() == "from here"
        return done.stderr

    return run


@pytest.fixture
def command(tmp_path, moby):
    """A `docker` or `kubectl` that knows one container, and notes what it was called with."""

    def write(program, name):
        (tmp_path / "bin").mkdir()
        path = tmp_path / "bin" / program
        facts = {"log": tmp_path / "log", "name": name, "python": sys.executable}
        path.write_text(EXEC.format(dialstdio=dialstdio.__file__, socket=moby.socket, **facts))
        path.chmod(0o755)
        return tmp_path / "log"

    return write


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Certificates of a server, a client, and somebody else."""
    folder = tmp_path_factory.mktemp("papers")
    found = {}
    for name in ("server", "client", "other"):
        (folder / name).mkdir()
        found[name] = certificates.make(folder / name)
    return found


@pytest.fixture(scope="module")
def door(moby, papers):
    server, clients = papers["server"].server, papers["client"].authority
    with dialstdio.TlsDoor(moby.socket, server=server, clients=clients) as opened:
        yield f"tcp://127.0.0.1:{opened.port}"


def flags(papers, *, ca="server", client="client"):
    trusted = ["--tlscacert", papers[ca].authority]
    if not client:
        return trusted
    return [*trusted, "--tlscert", papers[client].authority, "--tlskey", papers[client].server]


def test_a_pod_is_entered_with_kubectl(build, command):
    log = command("kubectl", "bk-0")
    build("kube-pod://bk-0?namespace=ci&container=bk&context=prod")
    given = "exec -i bk-0 --context=prod --namespace=ci --container=bk -- buildctl dial-stdio"
    assert log.read_text().splitlines() == [given]
    said = build("kube-pod://bk-1", code=125)
    assert "kube-pod://bk-1: kubectl exec ended with 1: Error: no such bk-0: bk-1" in said


def test_a_container_is_entered_with_docker(build, command):
    log = command("docker", "buildkitd")
    build("docker-container://buildkitd")
    assert log.read_text().splitlines() == ["exec -i buildkitd buildctl dial-stdio"]


def test_a_command_that_is_not_installed(build, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "can't start kubectl: No such file" in build("kube-pod://bk-0", code=125)


def test_over_tcp_with_certificates_of_both_sides(build, door, papers, tmp_path):
    build(door, *flags(papers))
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(papers["server"].authority.read_bytes())
    (folder / "cert.pem").write_bytes(papers["client"].authority.read_bytes())
    (folder / "key.pem").write_bytes(papers["client"].server.read_bytes())
    build(door, "--tlsdir", folder)


def test_a_certificate_that_nobody_trusts_is_named(build, door, papers):
    said = build(door, *flags(papers, ca="other"), code=125)
    assert f"{door}: its certificate is not trusted: self-signed certificate" in said
    said = build(door, *flags(papers), "--tlsservername", "else.where", code=125)
    assert "Hostname mismatch" in said


@pytest.mark.parametrize("client", ["", "other"])
def test_a_daemon_that_wants_another_certificate_says_so(build, door, papers, client):
    said = build(door, *flags(papers, client=client), code=125)
    assert f"ERROR: {door}: TLS fails: tlsv1" in said
    assert "--tlscert" in said


def test_a_refused_connection_is_told_at_once(build):
    assert "tcp://127.0.0.1:1: Connection refused" in build("tcp://127.0.0.1:1", code=125)


def test_a_capability_that_an_old_daemon_lacks_is_named(build, door, papers, context):
    """dockerd 26.1 has BuildKit 0.13, which takes no modes in letters."""
    (context / "Dockerfile").write_text("FROM scratch\nCOPY --chmod=u+x file /\n")
    said = build(door, *flags(papers), code=1)
    assert "ERROR: BuildKit lacks what this build needs: file.copy.modestring\n" in said
