"""Manifests: pinned, verified, bounded; tags, quotas and hosts that are not what they seem."""

import base64
import hashlib
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from support.faults import ALWAYS, Fault
from support.registry import LocalRegistry
from support.registry_door import Door
from support.tiny_image import describe, noise, tiny_image

from lazybuild.errors import IntegrityError, LazybuildError, RegistryError, UsageError
from lazybuild.oci.descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import of

IMAGE = tiny_image()
DATA = noise(20_000_000)


@pytest.fixture
def name(registry) -> str:
    registry.put_manifest("base", IMAGE.manifest, tag="t")
    return f"{registry.host}/base"


def test_a_tag_costs_one_head(client, registry, name):
    assert client().resolve(f"{name}:t") == IMAGE.descriptor
    assert [x.method for x in registry.log] == ["HEAD"]


def test_a_registry_without_head_is_asked_with_get(client, registry, name):
    registry.fault(Fault(method="HEAD", status=405, times=ALWAYS))
    assert client().resolve(f"{name}:t") == IMAGE.descriptor


def test_a_head_without_a_digest_is_no_answer(client, registry, name):
    registry.fault(Fault(method="HEAD", headers={"Docker-Content-Digest": ""}))
    assert client().resolve(f"{name}:t") == IMAGE.descriptor


def test_a_document_is_fetched_once(client, registry, name):
    lazy = client()
    first = lazy.document(f"{name}:t")
    assert first.data == IMAGE.manifest
    assert lazy.manifest(name, first.descriptor.digest) == (IMAGE.manifest, OCI_MANIFEST)
    assert lazy.resolve(f"{name}@{IMAGE.descriptor.digest}") == IMAGE.descriptor
    assert len(registry.log) == 1


def test_a_tag_that_moves_after_it_was_resolved_changes_nothing(client, registry, name):
    lazy = client()
    pinned = lazy.resolve(f"{name}:t").digest
    registry.put_manifest("base", tiny_image((b"other",)).manifest, tag="t")
    assert lazy.manifest(name, pinned)[0] == IMAGE.manifest


def test_bytes_that_do_not_match_the_digest_are_refused(client, registry, name):
    registry.fault(Fault(flip=20, times=ALWAYS))
    for ref in (f"{name}:t", f"{name}@{IMAGE.descriptor.digest}"):
        with pytest.raises(IntegrityError, match=registry.host):
            client().document(ref)


def test_a_manifest_cut_short_is_read_again(client, registry, name):
    registry.fault(Fault(cut=20))
    assert client().document(f"{name}:t").data == IMAGE.manifest


def test_a_manifest_over_four_mebibytes_is_refused(client, registry, name):
    big = b'{"x":"' + b" " * (5 << 20) + b'"}'
    registry.put_manifest("base", big, tag="big")
    with pytest.raises(RegistryError, match="more than 4194304 bytes"):
        client().document(f"{name}:big")
    assert registry.log[-1].sent < 5 << 20 or len(registry.log) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"schemaVersion":2,"layers":[],"manifests":[]}',
        f'{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}',
        '{"schemaVersion":1}',
        '{"schemaVersion":2,"config":{"digest":"sha256:../../etc/passwd","size":1},"layers":[]}',
        '{"schemaVersion":2,"config":{"digest":"md5:00","size":1},"layers":[]}',
        '{"schemaVersion":2,"config":{"digest":"sha256:%s","size":-1},"layers":[]}' % ("0" * 64),
        '{"schemaVersion":2,"config":{"digest":"sha256:%s","size":1},"layers":[]}' % ("A" * 64),
        "[" * 100_000,
        "null",
        "",
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(client, registry, name, text):
    registry.put_manifest("base", text.encode(), tag="odd")
    with pytest.raises(IntegrityError):
        client().document(f"{name}:odd")


def test_an_index_in_an_index_is_only_a_descriptor_here(client, registry, name):
    """Depth costs nothing: nobody follows what was not asked for."""
    data = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % OCI_INDEX.encode()
    for _ in range(50):
        child = {"mediaType": OCI_INDEX, "digest": of(data), "size": len(data)}
        value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}
        registry.put_manifest("base", data, media_type=OCI_INDEX)
        data = json.dumps(value).encode()
    registry.put_manifest("base", data, tag="deep", media_type=OCI_INDEX)
    assert client().document(f"{name}:deep").descriptor.media_type == OCI_INDEX
    assert len(registry.log) == 1


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "text/html",
        "application/vnd.oci.image.layer.v1.tar",
        "x" * 5000,
    ],
)
def test_what_is_no_image_is_told_so(client, registry, name, kind):
    registry.fault(Fault(headers={"Content-Type": kind}, times=ALWAYS))
    with pytest.raises(RegistryError, match="neither an image manifest") as caught:
        client().document(f"{name}:t")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "digest", ["sha256:../../x", "md5:d41d8c", "sha256:" + "A" * 64, "sha256:ab"]
)
def test_a_digest_from_a_header_is_checked(client, registry, name, digest):
    registry.fault(Fault(headers={"Docker-Content-Digest": digest}, times=ALWAYS))
    with pytest.raises(IntegrityError):
        client().resolve(f"{name}:t")


@pytest.mark.parametrize(
    "name",
    ["host/../../x", "host/a/..", "host/A", "host/a//b", "a b/c", "host", "host/" + "a" * 300],
)
def test_a_name_that_is_none_never_leaves_the_house(client, name):
    with pytest.raises(UsageError, match="repository"):
        client().ranges([name], describe("x", b"x"))


def test_a_tag_that_is_not_there(client, name):
    with pytest.raises(RegistryError, match="404 Not Found: manifest unknown") as caught:
        client().document(f"{name}:nope")
    assert caught.value.exit_code == 104
    assert f"{name}:nope" in caught.value.message
    assert "login" in caught.value.hint


def test_a_registry_that_is_not_there(client):
    began = time.monotonic()
    with pytest.raises(RegistryError, match="connection refused") as caught:
        client().document("127.0.0.1:1/base:t")
    assert "3 attempts" in caught.value.message
    assert time.monotonic() - began < 2


def test_a_host_that_has_no_address(client):
    with pytest.raises(RegistryError, match="can't be resolved") as caught:
        client(retries=1).document("registry.invalid/base:t")
    assert "DNS" in caught.value.hint


def test_no_retries_means_one_attempt(client, registry, name):
    registry.fault(Fault(status=503, times=ALWAYS))
    with pytest.raises(RegistryError, match="503"):
        client(retries=0).document(f"{name}:t")
    assert len(registry.log) == 1


def test_retry_after_is_honoured(client, registry, name):
    registry.fault(Fault(status=429, headers={"Retry-After": "1"}))
    began = time.monotonic()
    client().document(f"{name}:t")
    assert 1.0 <= time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Retry-After": "1000000000"}, b""),
        ({"Retry-After": "9" * 400}, b""),
        (
            {},
            (
                b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate '
                b'limit."}]}'
            ),
        ),
    ],
)
def test_a_quota_that_is_used_up_fails_at_once_with_advice(client, registry, name, headers, body):
    registry.fault(Fault(status=429, headers=headers, body=body, times=ALWAYS))
    with pytest.raises(RegistryError, match="429") as caught:
        client().document(f"{name}:t")
    assert "log in" in caught.value.hint
    assert "mirror" in caught.value.hint
    assert len(registry.log) == 1


@pytest.mark.parametrize("told", ["-5", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999 GMT"])
def test_an_odd_retry_after_is_no_harm(client, registry, name, told):
    registry.fault(Fault(status=503, headers={"Retry-After": told}))
    client().document(f"{name}:t")


@contextmanager
def raw_server(answer: bytes):
    """Answers every request on every connection with these bytes and hangs up."""

    def talk(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(0.5)
                connection.recv(4096)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=talk, args=(server,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200\r\nA: b\r\n",
        b"\x16\x03\x01\x02",
        b"",
        b"SSH-2.0\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 307 Go\r\nLocation: http://\xff\xfe/\r\n\r\n",
    ],
)
def test_what_is_not_http_is_an_error(client, answer):
    with raw_server(answer) as host, pytest.raises(LazybuildError, match=host):
        client(retries=1).document(f"{host}/base:t")


def test_a_chunked_answer_is_read(client):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {OCI_MANIFEST}\r\nTransfer-Encoding: chunked"
    middle = len(IMAGE.manifest) // 2
    chunks = (IMAGE.manifest[:middle], IMAGE.manifest[middle:], b"")
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    with raw_server(head.encode() + b"\r\n\r\n" + body) as host:
        assert client().document(f"{host}/base:t").data == IMAGE.manifest


def test_a_whole_blob_comes_in_parallel_ranges_and_in_order(client, registry):
    registry.put_blob("base", DATA)
    blob = describe("x", DATA)
    parts: list[bytes] = []
    client().fetch_blob(f"{registry.host}/base", blob, parts.append)
    assert b"".join(parts) == DATA
    assert len(registry.log) == 10
    assert len({x.connection for x in registry.log}) > 1


def test_a_whole_blob_survives_faults_in_its_middle(client, registry):
    registry.put_blob("base", DATA)
    for fault in (
        Fault(cut=100_000, after=1),
        Fault(status=502),
        Fault(stall=5000),
        Fault(reset=True),
    ):
        registry.fault(fault)
    assert b"".join(client().blob(f"{registry.host}/base", describe("x", DATA))) == DATA


def test_a_whole_blob_with_a_wrong_bit_ends_in_an_error(client, registry):
    registry.put_blob("base", DATA)
    registry.fault(Fault(flip=1000, after=2))
    with pytest.raises(IntegrityError, match="sha256"):
        for _ in client().blob(f"{registry.host}/base", describe("x", DATA)):
            pass


def test_a_whole_blob_can_be_continued(client, registry):
    registry.put_blob("base", DATA)
    seen = hashlib.sha256(DATA[:15_000_000])
    rest = client().blob(
        f"{registry.host}/base", describe("x", DATA), start=15_000_000, hasher=seen
    )
    assert b"".join(rest) == DATA[15_000_000:]
    assert sum(x.sent for x in registry.log) == 5_000_000


def test_a_stream_that_nobody_wants_any_more_stops(client, registry):
    registry.put_blob("base", DATA)
    stream = client().blob(f"{registry.host}/base", describe("x", DATA))
    next(stream)
    stream.close()
    assert sum(x.sent for x in registry.log) <= len(DATA)


def test_an_empty_blob(client, registry):
    registry.put_blob("base", b"")
    empty = describe("x", b"")
    assert b"".join(client().blob(f"{registry.host}/base", empty)) == b""
    client().check(f"{registry.host}/base", empty)


def test_traffic_is_counted(client, registry, name):
    registry.put_blob("base", DATA)
    lazy = client()
    lazy.document(f"{name}:t")
    lazy.ranges([name], describe("x", DATA)).read_at(0, 1000)
    assert (lazy.traffic.requests, lazy.traffic.received) == (2, 1000 + len(IMAGE.manifest))


def test_every_failure_is_one_of_ours(client, registry, name):
    """Whatever the status, the tree of errors holds it."""
    for status in (400, 401, 402, 404, 409, 410, 415, 418, 451, 499, 501, 505, 599):
        registry.fault(Fault(status=status, times=ALWAYS))
        for act in (
            lambda lazy: lazy.document(f"{name}:t"),
            lambda lazy: lazy.ranges(
                [name], Descriptor(media_type="x", digest=IMAGE.descriptor.digest, size=100)
            ).read_at(3, 4),
        ):
            with pytest.raises(LazybuildError):
                act(client(retries=1))
        registry.script.clear()


def test_mirrors_and_origin_are_reached_through_one_client(
    client, tmp_path, registry, name, events
):
    conf = tmp_path / "registries.conf"
    with LocalRegistry(twin=registry) as mirror:
        conf.write_text(
            f'[[registry]]\nlocation = "{registry.host}"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        )
        lazy = client(registries_conf=str(conf))
        assert lazy.resolve(f"{name}:t") == IMAGE.descriptor
        assert (len(mirror.log), len(registry.log)) == (1, 0)
        mirror.fault(Fault(status=404, times=ALWAYS))
        assert lazy.document(f"{name}:t").data == IMAGE.manifest
        assert any(f"mirror {mirror.host}" in e.message for e in events)


def test_a_mirror_that_serves_other_bytes_is_passed_over(client, tmp_path, registry, name):
    conf = tmp_path / "registries.conf"
    blob = noise(1000)
    registry.put_blob("base", blob)
    with LocalRegistry(twin=registry) as mirror:
        conf.write_text(
            f'[[registry]]\nlocation = "{registry.host}"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        )
        mirror.fault(Fault(flip=3, times=ALWAYS))
        lazy = client(registries_conf=str(conf))
        assert lazy.document(f"{name}@{IMAGE.descriptor.digest}").data == IMAGE.manifest
        ranges = lazy.ranges([name], describe("x", blob))
        assert ranges.read_at(0, 10) != blob[:10]
        assert ranges.reread_at(0, 10, tried=1) == blob[:10]


def test_a_mirror_gets_its_own_credentials_only(client, tmp_path, registry, name):
    conf, auths = tmp_path / "registries.conf", tmp_path / "auth.json"
    door = Door(kind="basic", users={"m": "mirror-pw"})
    with LocalRegistry(twin=registry, door=door) as mirror:
        conf.write_text(
            f'[[registry]]\nlocation = "{registry.host}"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        )
        origin = base64.b64encode(b"o:origin-pw").decode()
        auths.write_text(json.dumps({"auths": {registry.host: {"auth": origin}}}))
        auths.chmod(0o600)
        lazy = client(registries_conf=str(conf), authfile=str(auths))
        assert lazy.document(f"{name}:t").data == IMAGE.manifest
        assert mirror.log
        assert all(origin not in x.authorization for x in mirror.log)
