"""What a BuildKit gets of this machine: only what was offered, and files as they are."""

import io
import queue
import tarfile
import threading

import pytest

from lazybuild.errors import BuildError, HostError, IntegrityError, UsageError
from lazybuild.remote.exports import LAYERS, _directory, plan
from lazybuild.remote.files import Directories
from lazybuild.request import Output
from lazybuild.wire import dial
from lazybuild.wire.buildkit_frontend_protos.stat_pb2 import Packet
from lazybuild.wire.dial import Tls
from lazybuild.wire.filesync import (
    GO_DIR,
    GO_SYMLINK,
    Sender,
    SentFile,
    go_mode,
)
from lazybuild.wire.session import Wanted


@pytest.fixture
def place(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "deep").mkdir()
    (tmp_path / "a" / "deep" / "f").write_text("deep")
    (tmp_path / "a-b").write_text("x")
    (tmp_path / "run").write_text("r")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("a/deep")
    (tmp_path / "secret.key").write_text("geheim")
    return tmp_path


def sent(place, **wanted):
    return Directories({"context": place})(Wanted(name="context", **wanted))


def names(tree):
    return [file.path for file in tree.files]


def test_files_come_in_the_order_of_their_parts(place):
    found = sent(place)
    assert names(found) == [
        "a",
        "a/deep",
        "a/deep/f",
        "a-b",
        "link",
        "run",
        "secret.key",
    ]


def test_kinds_and_modes(place):
    found = {file.path: file for file in sent(place).files}
    assert found["a"].kind == GO_DIR
    assert (found["link"].kind, found["link"].link) == (GO_SYMLINK, "a/deep")
    assert (found["run"].kind, found["run"].mode & 0o777, found["run"].size) == (0, 0o755, 1)
    assert go_mode(GO_DIR, 0o41755) == 0x80000000 | 1 << 20 | 0o755
    assert go_mode(0, 0o6711) == 1 << 23 | 1 << 22 | 0o711


def test_what_is_ignored_is_not_there(place):
    found = sent(place, exclude=("*.key", "a", "!a/deep/f"))
    assert names(found) == ["a", "a/deep", "a/deep/f", "a-b", "link", "run"]


@pytest.mark.parametrize(
    ("follow", "want"),
    [
        (("run",), ["run"]),
        (("a/deep/f",), ["a", "a/deep", "a/deep/f"]),
        (("a/de*",), ["a", "a/deep", "a/deep/f"]),
        (("link",), ["a", "a/deep", "a/deep/f", "link"]),
        (("*",), ["a", "a/deep", "a/deep/f", "a-b", "link", "run", "secret.key"]),
        (("/",), ["a", "a/deep", "a/deep/f", "a-b", "link", "run", "secret.key"]),
        (("nowhere",), []),
    ],
)
def test_only_what_is_used_is_sent(place, follow, want):
    assert names(sent(place, follow=follow)) == want


def test_a_directory_that_was_not_given_is_not_there(place):
    assert Directories({"context": place})(Wanted(name="/etc")) is None


# --- the transfer --------------------------------------------------------------------------------


class Receiver:
    """The other side: asks for what it is told to, and keeps what it gets."""

    def __init__(self, files, open_, ask):
        self.requests = queue.Queue()
        self.listed, self.data = [], {}
        self.error = ""
        for packet in Sender(files, open_).packets(iter(self.requests.get, None)):
            self._take(packet, ask)

    def _take(self, packet, ask):
        if packet.type == Packet.PACKET_ERR:
            self.error = packet.data.decode()
        elif packet.type == Packet.PACKET_STAT and packet.HasField("stat"):
            self.listed.append(packet.stat)
        elif packet.type == Packet.PACKET_STAT:
            for number in ask:
                self.requests.put(Packet(type=Packet.PACKET_REQ, ID=number))
            if not ask:
                self.requests.put(Packet(type=Packet.PACKET_FIN))
        elif packet.type == Packet.PACKET_DATA:
            self.data[packet.ID] = self.data.get(packet.ID, b"") + packet.data
            if not packet.data and ask[-1] == packet.ID:
                self.requests.put(Packet(type=Packet.PACKET_FIN))


FILES = [
    SentFile(path="d", mode=0o755, kind=GO_DIR),
    SentFile(path="d/f", mode=0o644, size=200_000),
    SentFile(path="e", mode=0o600, size=0),
]
BYTES = {"d/f": b"x" * 200_000, "e": b""}


def opened(path):
    return io.BytesIO(BYTES[path])


def test_a_transfer():
    received = Receiver(FILES, opened, [1, 2])
    assert [stat.path for stat in received.listed] == ["d", "d/f", "e"]
    assert received.data == {1: BYTES["d/f"], 2: b""}
    assert not received.error


def test_nothing_is_asked_for():
    assert Receiver(FILES, opened, []).data == {}


@pytest.mark.parametrize("number", [0, 3, 2**32 - 1])
def test_a_file_that_was_not_listed_is_not_sent(number):
    received = Receiver(FILES, opened, [number])
    assert received.data == {}
    assert f"asks for file {number}" in received.error


def test_a_file_that_can_not_be_read_is_told():
    def fail(path):
        raise BuildError(f"{path}: gone")

    assert Receiver(FILES, fail, [1]).error == "d/f: gone"


def test_a_list_that_breaks_is_told():
    def broken():
        yield FILES[0]
        raise OSError("disk on fire")

    assert Receiver(broken(), opened, []).error == "disk on fire"


def test_threads_end_with_the_transfer():
    before = threading.active_count()
    sender = Sender((FILES[0] for _ in range(100_000)), opened).packets(iter([]))
    next(sender)
    sender.close()
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(timeout=3)
    assert threading.active_count() <= before


# --- addresses and outputs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("unix:///run/b.sock", "unix", "/run/b.sock"),
        ("tcp://10.0.0.1:1234", "tcp", "10.0.0.1:1234"),
        ("docker://", "docker", ""),
        ("docker:///run/d.sock", "docker", "/run/d.sock"),
        ("docker-container://buildkit", "docker-container", "buildkit"),
        ("kube-pod://bk-0?namespace=ci&container=bk", "kube-pod", "bk-0"),
    ],
)
def test_addresses(text, kind, place):
    found = dial.parse(text)
    assert (found.kind, found.place) == (kind, place)


@pytest.mark.parametrize(
    "text",
    [
        "ftp://x",
        "unix://",
        "tcp://",
        "kube-pod://-n",
        "kube-pod://a?namespace=--all",
        "docker-container://a;b",
        "docker-container://",
        "tcp://[",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError, match="--builder"):
        dial.parse(text)


def test_a_pod_is_reached_by_arguments_only():
    address = dial.parse("kube-pod://bk-0?namespace=ci&container=bk&context=prod")
    assert dial._words(address) == [
        *("kubectl", "exec", "-i", "bk-0"),
        *("--context=prod", "--namespace=ci", "--container=bk"),
        *("--", "buildctl", "dial-stdio"),
    ]


@pytest.mark.parametrize("text", ["unix:///nowhere.sock", "tcp://127.0.0.1:1", "docker:///no"])
def test_nobody_there_is_said_at_once(text):
    with pytest.raises(HostError) as caught, dial.connected(dial.parse(text), Tls()):
        pass
    assert caught.value.message.startswith((text, "no dockerd at"))


def test_exporters_of_a_buildkit():
    made = plan(
        [Output(type="registry"), Output(type="local", dest="out"), Output(type="oci", dest="-")],
        ["docker.io/me/x:1"],
        {"source-date-epoch": "5"},
        inside_docker=False,
    )
    push, files, layout = made.exports
    assert push.attrs == {
        **LAYERS,
        "source-date-epoch": "5",
        "name": "docker.io/me/x:1",
        "push": "true",
    }
    assert (files.type, layout.type) == ("tar", "oci")
    assert sorted(made.streams) == [1, 2]


def test_exporters_of_a_docker():
    made = plan([Output(type="load")], ["x"], {}, inside_docker=True)
    assert [(each.type, dict(each.attrs)) for each in made.exports] == [("moby", {"name": "x"})]


@pytest.mark.parametrize(
    "output", [Output(type="registry"), Output(type="load"), Output(type="weird")]
)
def test_outputs_that_can_not_be_are_refused(output):
    with pytest.raises(UsageError):
        plan([output], [], {}, inside_docker=False)


def tar_into(folder, *members):
    with _directory(folder) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name, link in members:
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)


def test_a_tar_becomes_a_directory_and_nothing_outside(tmp_path):
    tar_into(tmp_path / "out", ("ok", ""), ("l", str(tmp_path)), ("l/evil", ""))
    assert (tmp_path / "out" / "ok").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.parametrize("name", ["../evil", "d/../../evil"])
def test_a_name_that_leads_outside_is_refused(tmp_path, name):
    with pytest.raises(IntegrityError, match="leaves"):
        tar_into(tmp_path / "out", (name, ""))
    assert list(tmp_path.iterdir()) == []
