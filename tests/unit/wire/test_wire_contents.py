"""containerd's content API from the daemon's side, over directories and images of a store."""

import hashlib
from contextlib import closing

import grpc
import pytest
from support.sessions import Daemon

from lazybuild.build.lent import StoredImage
from lazybuild.exchange.layout import Layout
from lazybuild.oci import codec
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from lazybuild.oci.image import Manifest
from lazybuild.store import Store
from lazybuild.wire.buildkit_frontend_protos import content_pb2 as pb
from lazybuild.wire.calls import Caller, open_channel
from lazybuild.wire.contents import PIECE, SERVICE, STORE
from lazybuild.wire.control import Control
from lazybuild.wire.faults import RemoteError
from lazybuild.wire.session import Offers, Session

NOT_FOUND, EXISTS, DENIED, PRECONDITION, RANGE, INVALID = 5, 6, 7, 9, 11, 3


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def described(media_type, data):
    return Descriptor(media_type=media_type, digest=digest(data), size=len(data))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def image(store):
    """A manifest over a config and a layer, and a secret beside them."""
    for data in (b"{}", b"layer", b"geheim"):
        store.blobs.put(data)
    manifest = Manifest(
        config=described(OCI_CONFIG, b"{}"), layers=(described(OCI_LAYER_GZIP, b"layer"),)
    )
    return store.blobs.put(codec.encode(manifest))


@pytest.fixture
def call(tmp_path, store, image):
    stores = {"local:cache": Layout(tmp_path / "cache"), "oci:image": StoredImage(store, image)}
    with (
        Daemon() as daemon,
        open_channel(daemon.target) as channel,
        Session(Control(channel), Offers(contents=stores)),
    ):
        _, inside = daemon.session()
        with closing(inside):
            yield Content(inside)


class Content:
    """As containerd's client asks."""

    def __init__(self, channel):
        self._caller = Caller(channel, SERVICE)

    def of(self, name):
        return self._caller.with_metadata(((STORE, name),))

    def info(self, name, wanted):
        return self.of(name).call("Info", pb.InfoRequest(digest=wanted), pb.InfoResponse).info

    def read(self, name, wanted, offset=0, size=0):
        request = pb.ReadContentRequest(digest=wanted, offset=offset, size=size)
        return [m.data for m in self.of(name).stream("Read", request, pb.ReadContentResponse)]

    def write(self, name, data, expected, **commit):
        end = {"offset": len(data), "total": len(data), **commit}
        requests = [
            pb.WriteContentRequest(action=pb.STAT, ref="r", total=len(data), expected=expected),
            pb.WriteContentRequest(action=pb.WRITE, data=data),
            pb.WriteContentRequest(action=pb.COMMIT, expected=expected, **end),
        ]
        answers = self.of(name).talk("Write", requests, pb.WriteContentResponse)
        return [(answer.action, answer.offset, answer.digest) for answer in answers]


def refused(code):
    return pytest.raises(RemoteError, check=lambda error: error.status.code == code)


def test_what_an_image_is_made_of_can_be_read(call, image):
    assert call.info("oci:image", image).size > 100
    assert call.read("oci:image", digest(b"layer")) == [b"layer"]
    assert call.read("oci:image", digest(b"layer"), offset=2, size=100) == [b"yer"]


@pytest.mark.parametrize(
    "wanted", [digest(b"geheim"), digest(b"none"), "sha256:../../meta.db", "", "md5:00"]
)
def test_nothing_else_of_the_store_is_there(call, wanted):
    for ask in (call.info, call.read):
        with refused(NOT_FOUND):
            ask("oci:image", wanted)


def test_a_store_that_was_not_offered_is_not_there(call):
    with refused(NOT_FOUND):
        call.info("local:/etc", digest(b"layer"))
    with refused(NOT_FOUND):
        call.write("oci:other", b"x", digest(b"x"))


def test_an_image_is_read_only(call):
    with refused(DENIED):
        call.write("oci:image", b"x", digest(b"x"))


@pytest.mark.parametrize(("offset", "size"), [(6, 1), (-1, 1), (0, -1)])
def test_a_range_outside_of_a_blob_is_refused(call, offset, size):
    with refused(RANGE):
        call.read("oci:image", digest(b"layer"), offset, size)


def test_a_cache_takes_blobs_in_and_gives_them_back(call, tmp_path):
    data = b"x" * (PIECE + 5)
    answers = call.write("local:cache", data, digest(data))
    size = len(data)
    assert answers == [(pb.STAT, 0, ""), (pb.WRITE, size, ""), (pb.COMMIT, size, digest(data))]
    assert b"".join(call.read("local:cache", digest(data))) == data
    names = [path.name for path in (tmp_path / "cache/blobs/sha256").iterdir()]
    assert names == [digest(data)[7:]]
    with refused(EXISTS):
        call.write("local:cache", data, digest(data))


@pytest.mark.parametrize(
    ("expected", "commit", "code"),
    [
        (digest(b"other"), {}, PRECONDITION),
        (digest(b"data"), {"total": 9}, PRECONDITION),
        ("", {}, PRECONDITION),
        ("sha256:../x", {}, INVALID),
    ],
)
def test_bytes_that_are_not_what_they_were_said_to_be_leave_nothing(
    call, tmp_path, expected, commit, code
):
    with refused(code):
        call.write("local:cache", b"data", expected, **commit)
    assert list((tmp_path / "cache/blobs/sha256").iterdir()) == []


def test_a_write_goes_on_where_it_was(call):
    requests = [
        pb.WriteContentRequest(action=pb.WRITE, ref="r", expected=digest(b"ab"), data=b"a"),
        pb.WriteContentRequest(action=pb.WRITE, data=b"b", offset=5),
    ]
    with refused(RANGE):
        list(call.of("local:cache").talk("Write", requests, pb.WriteContentResponse))


def test_a_tag_means_what_was_written_last(tmp_path):
    layout = Layout(tmp_path / "cache")
    assert layout.tagged("main") is None
    for data in (b'{"config":{"digest":"x"}}', b"[]"):
        with layout.ingest() as blob:
            blob.write(data)
            blob.commit()
        layout.point("main", described(OCI_MANIFEST, data))
        assert layout.tagged("main") == digest(data)
        with layout.open(digest(data)) as file:
            assert file.read() == data


def test_unimplemented_calls_say_so(call):
    with refused(grpc.StatusCode.UNIMPLEMENTED.value[0]):
        call.of("local:cache").call("Delete", pb.InfoRequest(), pb.InfoResponse)
