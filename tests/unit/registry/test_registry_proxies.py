"""Registries behind a proxy that wants to know who asks; real connections on loopback."""

import base64

import pytest
from support import certificates
from support.proxy import proxy
from support.registry import LocalRegistry
from support.tiny_image import describe, noise, tiny_image

from lazybuild.errors import RegistryError
from lazybuild.registry.proxies import authorization

IMAGE = tiny_image()
DATA = noise(10_000)
FAR = "registry.invalid"
WHO = "build:p%40ss@"
HEADER = "Proxy-Authorization: Basic " + base64.b64encode(b"build:p@ss").decode()


def put(registry):
    registry.put_manifest("base", IMAGE.manifest, tag="t")
    registry.put_blob("base", DATA)


def place(registry):
    host, _, port = registry.host.partition(":")
    return host, int(port)


def test_who_asks_stands_in_the_url_of_the_proxy():
    assert authorization("http://proxy:3128") == {}
    assert authorization("http://a%3Ab@proxy") == {
        "Proxy-Authorization": "Basic " + base64.b64encode(b"a:b:").decode()
    }


def test_https_is_tunnelled_and_the_proxy_told_who_asks(client, tmp_path):
    pair = certificates.make(tmp_path)
    with LocalRegistry(certificate=pair.server) as registry, proxy(place(registry)) as between:
        put(registry)
        lazy = client(environ={"https_proxy": between.url(WHO)}, insecure=(FAR,))
        assert lazy.document(f"{FAR}/base:t").data == IMAGE.manifest
        assert lazy.ranges([f"{FAR}/base"], describe("x", DATA)).read_at(5, 5) == DATA[5:10]
        assert all("authorization" not in request.headers for request in registry.log)
    assert between.heads[0].startswith(f"CONNECT {FAR}:443 ")
    assert HEADER in between.heads[0]


def test_plain_http_is_asked_for_by_its_whole_url(client, registry):
    put(registry)
    with proxy(place(registry)) as between:
        environ = {"http_proxy": between.url(WHO), "https_proxy": "http://127.0.0.1:9"}
        lazy = client(environ=environ, insecure=(FAR,), retries=0)
        assert lazy.document(f"{FAR}/base:t").data == IMAGE.manifest
    assert between.heads[0].startswith(f"GET http://{FAR}/v2/base/manifests/t ")
    assert HEADER in between.heads[0]


def test_a_proxy_that_refuses_is_named_and_no_password_is_shown(client):
    with proxy(None) as between, pytest.raises(RegistryError, match="proxy") as caught:
        client(environ={"https_proxy": between.url(WHO)}, retries=0).document(f"{FAR}/base:t")
    assert "p@ss" not in f"{caught.value.message}{caught.value.hint}"
    assert "p%40ss" not in f"{caught.value.message}{caught.value.hint}"
