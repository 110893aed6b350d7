"""Who is told which secret: tokens, basic, redirects, realms, upload locations (threats 81-90)."""

import base64
import json
import threading

import pytest
from support.faults import ALWAYS, Fault
from support.registry import LocalRegistry
from support.registry_door import Door
from support.tiny_image import describe, noise, tiny_image

from lazybuild.errors import RegistryError
from lazybuild.registry import auth
from lazybuild.registry.auth import Challenge, parse_challenges
from lazybuild.registry.push import Blob, from_bytes, push_blob

DATA = noise(50_000)
BLOB = describe("application/octet-stream", DATA)
IMAGE = tiny_image()
USERS = {"me": "pass-word-1"}


def token_registry(**rules) -> LocalRegistry:
    registry = LocalRegistry(door=Door(kind="token", users=USERS, **rules))
    registry.put_blob("base", DATA)
    registry.put_manifest("base", IMAGE.manifest, tag="t")
    return registry


def test_an_anonymous_token_is_enough_where_all_may_pull(client):
    with token_registry(anonymous_pull=True) as registry:
        client().resolve(f"{registry.host}/base:t")
        assert [x.status for x in registry.log] == [401, 200, 200]
        assert registry.requests(part="/token")[0].authorization == ""


def test_a_token_is_got_with_the_password_and_used_again(client):
    with token_registry() as registry:
        lazy = client(creds="me:pass-word-1")
        lazy.document(f"{registry.host}/base:t")
        lazy.ranges([f"{registry.host}/base"], BLOB).read_at(0, 5)
        assert len(registry.requests(part="/token")) == 1
        assert registry.requests(part="/token")[0].authorization.startswith("Basic ")


def test_another_repository_needs_no_second_401(client):
    with token_registry(anonymous_pull=True) as registry:
        registry.put_manifest("other", IMAGE.manifest, tag="t")
        lazy = client()
        lazy.resolve(f"{registry.host}/base:t")
        lazy.resolve(f"{registry.host}/other:t")
        assert [x.status for x in registry.log].count(401) == 1


def test_a_token_that_ends_in_the_middle_is_fetched_once_by_many_readers(client):
    with token_registry() as registry:
        blob = client(creds="me:pass-word-1").ranges([f"{registry.host}/base"], BLOB)
        assert blob.read_at(0, 5) == DATA[:5]
        registry.door.revoke()
        wrong = []

        def read(place: int) -> None:
            if blob.read_at(place, 100) != DATA[place : place + 100]:
                wrong.append(place)

        threads = [threading.Thread(target=read, args=(i * 1000,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert registry.door.given == 2


def test_a_token_near_its_end_is_replaced_before_it_fails(client):
    with token_registry(told_lifetime=1) as registry:
        blob = client(creds="me:pass-word-1").ranges([f"{registry.host}/base"], BLOB)
        blob.read_at(0, 5)
        threading.Event().wait(0.6)
        blob.read_at(5, 5)
        assert [x.status for x in registry.log].count(401) == 1
        assert registry.door.given == 2


def test_the_token_service_is_asked_again_after_a_fault(client):
    with token_registry(anonymous_pull=True) as registry:
        registry.fault(Fault(path="/token", status=500, times=2))
        client().resolve(f"{registry.host}/base:t")


def test_an_identity_token_is_posted_and_never_in_a_url(client, tmp_path):
    with token_registry(identity_tokens={"refresh-1": "me"}) as registry:
        file = tmp_path / "auth.json"
        file.write_text(json.dumps({"auths": {registry.host: {"identitytoken": "refresh-1"}}}))
        file.chmod(0o600)
        client(authfile=str(file)).resolve(f"{registry.host}/base:t")
        (asked,) = registry.requests(part="/token")
        assert (asked.method, asked.query) == ("POST", "")


def test_a_registry_token_is_used_as_it_is(client, tmp_path):
    with token_registry() as registry:
        registry.door.tokens["given-token"] = (frozenset({"repository:base:pull"}), 1e18)
        file = tmp_path / "auth.json"
        file.write_text(json.dumps({"auths": {registry.host: {"registrytoken": "given-token"}}}))
        file.chmod(0o600)
        client(authfile=str(file)).resolve(f"{registry.host}/base:t")
        assert not registry.requests(part="/token")


def test_basic_is_answered_after_it_was_asked_for(client):
    with LocalRegistry(door=Door(kind="basic", users=USERS)) as registry:
        registry.put_manifest("base", IMAGE.manifest, tag="t")
        lazy = client(creds="me:pass-word-1")
        lazy.resolve(f"{registry.host}/base:t")
        lazy.resolve(f"{registry.host}/base:t")
        assert [x.status for x in registry.log] == [401, 200, 200]


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_wrong_credentials_end_at_once_with_the_way_out(client, kind):
    with LocalRegistry(door=Door(kind=kind, users=USERS)) as registry:
        registry.put_manifest("base", IMAGE.manifest, tag="t")
        with pytest.raises(RegistryError) as caught:
            client(creds="me:wrong-pass-word").resolve(f"{registry.host}/base:t")
        assert "--creds" in caught.value.message
        assert f"lazybuild login {registry.host}" in caught.value.hint
        assert "wrong-pass-word" not in caught.value.message + caught.value.hint
        assert len(registry.log) <= 4


def test_no_credentials_where_some_are_needed(client):
    with LocalRegistry(door=Door(kind="basic", users=USERS)) as registry:
        with pytest.raises(RegistryError, match="user and a password") as caught:
            client().resolve(f"{registry.host}/base:t")
        assert "lazybuild login" in caught.value.hint


def test_a_redirect_to_another_port_gets_no_authorization(client):
    with token_registry() as registry, LocalRegistry(twin=registry) as cdn:
        registry.fault(Fault(path="/blobs/", redirect=cdn.url, times=ALWAYS))
        blob = client(creds="me:pass-word-1").ranges([f"{registry.host}/base"], BLOB)
        assert blob.read_at(0, 5) + blob.read_at(5, 5) == DATA[:10]
        assert len(cdn.log) == 2
        assert all(x.authorization == "" for x in cdn.log)


def test_a_redirect_that_comes_back_does_not_bring_the_authorization_back(client):
    """A strange host must not be able to choose which URL sees the token."""
    with token_registry() as registry, LocalRegistry(twin=registry) as cdn:
        lazy = client(creds="me:pass-word-1")
        lazy.resolve(f"{registry.host}/base:t")
        registry.fault(Fault(path="/blobs/", redirect=cdn.url))
        cdn.fault(Fault(path="/blobs/", redirect=registry.url))
        with pytest.raises(RegistryError, match="401"):
            lazy.ranges([f"{registry.host}/base"], BLOB).read_at(0, 5)
        assert registry.log[-1].authorization == ""


@pytest.mark.parametrize(
    "place",
    [
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http://user:pw@127.0.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/x",
        "http://127.0.0.1:99999/x",
        "",
    ],
)
def test_redirects_to_strange_places_are_refused(client, registry, place):
    registry.put_blob("base", DATA)
    registry.fault(Fault(status=307, headers={"Location": place}, times=ALWAYS))
    with pytest.raises(RegistryError, match="redirect"):
        client().ranges([f"{registry.host}/base"], BLOB).read_at(0, 5)
    assert len(registry.log) == 1


def test_redirects_without_end_are_refused(client, registry):
    registry.fault(Fault(path="/blobs/", redirect=registry.url, query="", times=ALWAYS))
    with pytest.raises(RegistryError, match="in a row"):
        client().ranges([f"{registry.host}/base"], BLOB).read_at(0, 5)
    assert len(registry.log) == 6


def test_a_realm_elsewhere_on_plain_http_is_not_asked(client):
    with LocalRegistry() as thief, token_registry(realm=f"http://localhost:{thief.port}/t") as own:
        with pytest.raises(RegistryError, match="token service"):
            client(creds="me:pass-word-1").resolve(f"{own.host}/base:t")
        assert thief.log == []


def test_an_upload_location_elsewhere_gets_no_credentials(client):
    with token_registry() as registry, LocalRegistry(twin=registry) as other:
        registry.location_base = other.url
        other.location_base = other.url
        lazy = client(creds="me:pass-word-1")
        more = noise(2_000_000, seed=9)
        blob = Blob(descriptor=describe("x", more), source=from_bytes(more))
        push_blob(lazy, f"{registry.host}/base", blob)
        assert other.log
        assert all(x.authorization == "" for x in other.log)


def test_no_secret_in_any_message(client, events):
    """Every failing way, and all that is noted on it."""
    with token_registry() as registry, LocalRegistry(twin=registry) as cdn:
        lazy = client(creds="me:pass-word-1")
        blob = lazy.ranges([f"{registry.host}/base"], BLOB)
        blob.read_at(0, 5)
        token = next(iter(registry.door.tokens))
        said = json.dumps({"errors": [{"message": f"bad header Authorization: Bearer {token}"}]})
        texts = []
        for fault in (
            Fault(status=403, body=said.encode(), times=ALWAYS),
            Fault(status=500, body=said.encode(), times=ALWAYS),
            Fault(status=418, body=f"see {cdn.url}/x?X-Amz-Signature=s3cr3t".encode()),
        ):
            registry.fault(fault)
            with pytest.raises(RegistryError) as caught:
                blob.read_at(5, 5)
            texts.append(f"{caught.value} {caught.value.hint}")
            registry.script.clear()
        registry.fault(Fault(path="/blobs/", redirect=cdn.url, times=ALWAYS))
        cdn.fault(Fault(status=500, times=ALWAYS))
        with pytest.raises(RegistryError) as caught:
            blob.read_at(5, 5)
        heard = " ".join([*texts, str(caught.value), repr(events), repr(lazy.config)])
        basic = base64.b64encode(b"me:pass-word-1").decode()
        for secret in (token, "pass-word-1", "s3cr3t", basic):
            assert secret not in heard


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"{}", "without a token"),
        (b"[1]", "without a token"),
        (b"<html>", "without a token"),
        (b'{"token": 5}', "without a token"),
        (b'{"token": "a\\r\\nX-Evil: 1"}', "no header may hold"),
        (b" " * (1 << 21), "more than"),
    ],
)
def test_junk_from_a_token_service_is_an_error(client, body, what):
    with token_registry() as registry:
        registry.fault(Fault(path="/token", status=200, body=body, times=ALWAYS))
        with pytest.raises(RegistryError, match=what):
            client(creds="me:pass-word-1").resolve(f"{registry.host}/base:t")


def test_challenges_are_read_as_the_rfc_has_them():
    text = (
        'Negotiate, Basic realm="a, b", Bearer realm="https://x/t?a=\\"q\\"",service=reg,'
        'scope="repository:a/b:pull,push"'
    )
    assert parse_challenges([text]) == [
        Challenge(scheme="negotiate"),
        Challenge(scheme="basic", parameters={"realm": "a, b"}),
        Challenge(
            scheme="bearer",
            parameters={
                "realm": 'https://x/t?a="q"',
                "service": "reg",
                "scope": "repository:a/b:pull,push",
            },
        ),
    ]
    assert auth.choose(parse_challenges([text])).scheme == "bearer"


@pytest.mark.parametrize("text", ["", '"', "Bearer", 'Bearer realm="' + "\\" * 50_000, "=" * 9000])
def test_hostile_challenges_end_quickly(text):
    assert len(parse_challenges([text])) <= 1
