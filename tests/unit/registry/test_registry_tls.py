"""Certificates, plain HTTP, and the way from one scheme to the other; real TLS on loopback."""

import shutil
import socket

import pytest
from support import certificates
from support.faults import ALWAYS, Fault
from support.registry import LocalRegistry
from support.registry_door import Door
from support.tiny_image import describe, noise, tiny_image

from lazybuild.errors import RegistryError, UsageError
from lazybuild.registry import trust
from lazybuild.registry.hosts import Endpoint, Hosts
from lazybuild.registry.push import Blob, from_bytes, push_blob

IMAGE = tiny_image()
DATA = noise(10_000)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(pair):
    with LocalRegistry(certificate=pair.server) as registry:
        registry.put_manifest("base", IMAGE.manifest, tag="t")
        registry.put_blob("base", DATA)
        yield registry


def only_https(lazy):
    """Loopback may be plain; hosts elsewhere may not. Make loopback like elsewhere."""

    class Strict(Hosts):
        def _plain(self, host, repository, *, insecure=False):
            place = super()._plain(host, repository, insecure=insecure)
            return Endpoint(
                host=place.host, repository=repository, registry=host, verify=place.verify
            )

    lazy.hosts = Strict(insecure=lazy.hosts._insecure)
    return lazy


def test_an_unknown_authority_is_refused_at_once_with_the_way_out(client, secure):
    with pytest.raises(RegistryError, match="certificate is not accepted") as caught:
        only_https(client()).document(f"{secure.host}/base:t")
    assert "certs.d" in caught.value.hint
    assert "--insecure-registry" in caught.value.hint
    assert "attempts" not in caught.value.message
    assert secure.log == []


def test_an_authority_from_certs_d_is_accepted(client, secure, pair, tmp_path):
    folder = tmp_path / "home/.config/containers/certs.d" / secure.host
    folder.mkdir(parents=True)
    shutil.copy(pair.authority, folder / "ca.crt")
    lazy = only_https(client())
    assert lazy.document(f"{secure.host}/base:t").data == IMAGE.manifest
    ranges = lazy.ranges([f"{secure.host}/base"], describe("x", DATA))
    assert ranges.read_at(5, 5) == DATA[5:10]
    assert {x.connection for x in secure.log} == {1}


def test_an_authority_from_cert_dir_is_accepted(client, secure, pair):
    lazy = only_https(client(cert_dir=str(pair.authority.parent)))
    assert lazy.document(f"{secure.host}/base:t").data == IMAGE.manifest


def test_a_certificate_file_that_is_none_is_named(client, secure, tmp_path):
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(UsageError, match=r"ca\.crt"):
        only_https(client(cert_dir=str(tmp_path))).document(f"{secure.host}/base:t")


def test_without_verification_by_request(client, secure):
    assert client(insecure=(secure.host,)).document(f"{secure.host}/base:t")
    assert client(tls_verify=False).document(f"{secure.host}/base:t")


def test_loopback_with_tls_is_found_after_plain_http(client, secure, pair):
    lazy = client(cert_dir=str(pair.authority.parent))
    assert lazy.document(f"{secure.host}/base:t").data == IMAGE.manifest
    lazy.resolve(f"{secure.host}/base:t")
    assert len(secure.requests("HEAD")) == 1


def test_plain_http_where_tls_is_wanted_is_told_so(client, registry):
    with pytest.raises(RegistryError, match="does not speak TLS") as caught:
        only_https(client()).document(f"{registry.host}/base:t")
    assert "--insecure-registry" in caught.value.hint
    assert "attempts" not in caught.value.message


def test_a_tls_port_that_answers_plain_http_politely_is_asked_again_with_tls(client, registry):
    """As Go's and nginx's servers do."""
    registry.put_manifest("base", IMAGE.manifest, tag="t")
    said = b"Client sent an HTTP request to an HTTPS server."
    registry.fault(Fault(status=400, body=said))
    with pytest.raises(RegistryError, match="TLS"):
        client(retries=0).document(f"{registry.host}/base:t")


def test_a_plain_port_whose_first_connection_is_reset_is_asked_again_without_tls(client, registry):
    registry.put_manifest("base", IMAGE.manifest, tag="t")
    registry.fault(Fault(reset=True))
    assert client().document(f"{registry.host}/base:t").data == IMAGE.manifest


def test_a_handshake_that_stalls_is_tried_again_and_told(client, events):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        lazy = only_https(client(retries=1, connect_timeout=0.2, stall_timeout=0.2))
        with pytest.raises(RegistryError, match="2 attempts"):
            lazy.document(f"{host}/base:t")
        assert len(events) == 1


def test_a_redirect_from_https_to_http_is_refused(client, secure, pair):
    with LocalRegistry(twin=secure) as plain:
        secure.fault(Fault(path="/blobs/", redirect=plain.url, times=ALWAYS))
        lazy = client(cert_dir=str(pair.authority.parent))
        with pytest.raises(RegistryError, match="from https to http"):
            lazy.ranges([f"{secure.host}/base"], describe("x", DATA)).read_at(0, 5)
        assert plain.log == []


def test_an_upload_location_from_https_to_http_is_refused(client, secure, pair):
    with LocalRegistry(twin=secure) as plain:
        secure.location_base = plain.url
        blob = Blob(descriptor=describe("x", b"new"), source=from_bytes(b"new"))
        lazy = client(cert_dir=str(pair.authority.parent))
        with pytest.raises(RegistryError, match="from https to http"):
            push_blob(lazy, f"{secure.host}/out", blob)
        assert plain.log == []


def test_a_realm_on_plain_http_gets_nothing_from_an_https_registry(client, pair):
    with (
        LocalRegistry() as thief,
        LocalRegistry(
            certificate=pair.server,
            door=Door(kind="token", users={"me": "pw"}, realm=f"http://127.0.0.1:{thief.port}/t"),
        ) as registry,
    ):
        lazy = client(creds="me:pw", cert_dir=str(pair.authority.parent))
        with pytest.raises(RegistryError, match="token service"):
            lazy.document(f"{registry.host}/base:t")
        assert thief.log == []


def test_credentials_are_not_given_to_a_realm_of_strangers(client, pair, events):
    """https and a name, so it may be asked, but as nobody."""
    with (
        LocalRegistry(certificate=pair.server, door=Door(kind="token")) as thief,
        LocalRegistry(
            certificate=pair.server,
            door=Door(
                kind="token", users={"me": "pw"}, realm=f"https://localhost:{thief.port}/token"
            ),
        ) as registry,
    ):
        lazy = client(creds="me:pw", cert_dir=str(pair.authority.parent))
        with pytest.raises(RegistryError):
            lazy.document(f"{registry.host}/base:t")
        assert thief.log
        assert all(x.authorization == "" for x in thief.log)
        assert any("not sent to" in e.message for e in events)
        trusting = client(
            creds="me:pw", cert_dir=str(pair.authority.parent), trusted_realms=("localhost",)
        )
        with pytest.raises(RegistryError):
            trusting.document(f"{registry.host}/base:t")
        assert thief.log[-1].authorization.startswith("Basic ")


@pytest.mark.parametrize(
    ("registry", "url", "realm", "asked", "trusted"),
    [
        ("docker.io", "https://registry-1.docker.io", "https://auth.docker.io/token", True, True),
        ("ghcr.io", "https://ghcr.io", "https://ghcr.io/token", True, True),
        ("ghcr.io", "https://ghcr.io", "http://ghcr.io/token", False, False),
        ("ghcr.io", "https://ghcr.io", "https://ghcr.io.evil.com/token", True, False),
        ("ghcr.io", "https://ghcr.io", "https://evil.io/token", True, False),
        ("ghcr.io", "https://ghcr.io", "https://auth.docker.io/token", True, False),
        (
            "registry.gitlab.com",
            "https://registry.gitlab.com",
            "https://gitlab.com/jwt",
            True,
            True,
        ),
        ("r.corp.example", "https://r.corp.example", "https://git.corp.example/jwt", True, True),
        ("r.corp.example", "https://r.corp.example", "https://corp.example/jwt", True, True),
        ("r.example", "https://r.example", "https://auth.r.example/t", True, True),
        ("r.example", "https://r.example", "https://x.example/t", True, False),
        ("a.azurecr.io", "https://a.azurecr.io", "https://b.azurecr.io/t", True, False),
        ("a.co.uk", "https://a.co.uk", "https://b.co.uk/t", True, False),
        ("r.example", "https://r.example", "https://169.254.169.254/t", False, False),
        ("r.example", "https://r.example", "https://10.0.0.1/t", False, False),
        ("r.example", "https://r.example", "https://2130706433/t", False, False),
        ("r.example", "https://r.example", "https://0x7f000001/t", False, False),
        ("r.example", "https://r.example", "https://[::1]/t", False, False),
        ("r.example", "https://r.example", "https://u:p@r.example/t", False, False),
        ("r.example", "https://r.example", "file:///etc/passwd", False, False),
        ("r.example", "https://r.example", "", False, False),
        ("10.0.0.1:5000", "https://10.0.0.1:5000", "https://10.0.0.1:5001/t", True, True),
        ("10.0.0.1:5000", "https://10.0.0.1:5000", "https://10.0.0.2:5000/t", False, False),
        ("127.0.0.1:5000", "http://127.0.0.1:5000", "http://127.0.0.1:5001/t", True, True),
        ("127.0.0.1:5000", "http://127.0.0.1:5000", "http://127.0.0.2:5001/t", False, False),
        ("plain.example", "http://plain.example", "http://plain.example/t", True, True),
        ("plain.example", "http://plain.example", "http://plain.example:81/t", False, False),
    ],
)
def test_who_may_be_asked_for_tokens_and_who_may_see_secrets(registry, url, realm, asked, trusted):
    assert trust.realm_allowed(url, realm) == asked
    assert trust.realm_trusted(registry, url, realm, frozenset()) == trusted


@pytest.mark.parametrize(
    ("current", "location", "there"),
    [
        ("https://a/v2/x", "/y?z=1#f", "https://a/y?z=1"),
        ("https://a/v2/x", "https://b/y", "https://b/y"),
        ("http://a/v2/x", "https://a/y", "https://a/y"),
        ("https://a/v2/x", "//b/y", "https://b/y"),
    ],
)
def test_locations_that_may_be_followed(current, location, there):
    assert trust.follow(current, location) == there


@pytest.mark.parametrize(
    "location",
    ["http://a/y", "gopher://a", "https://a b/", "https://a/\r\nX: y", "https://[::1/", "//[x]/"],
)
def test_locations_that_may_not(location):
    with pytest.raises(trust.NotTrustedError):
        trust.follow("https://a/v2/x", location)
