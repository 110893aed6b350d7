"""Downloads through a proxy: whole URLs for http, a tunnel for https."""

import socket
import threading

import pytest
from support.web import Answer, web

from lazybuild.build.remotes import downloads
from lazybuild.errors import RegistryError
from lazybuild.llb.ops import SourceOp
from lazybuild.registry.config import RegistryConfig
from lazybuild.request import BuildRequest
from lazybuild.sources.fetch import Policy
from lazybuild.sources.http import HttpSources
from lazybuild.store import Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


def test_a_build_asks_the_proxy_of_its_environment(store):
    with web() as proxy:
        proxy.answers["http://files.invalid/a?b=c"] = Answer(b"by proxy")
        environ = {"http_proxy": proxy.url, "no_proxy": "elsewhere.invalid"}
        config = RegistryConfig(environ=environ)
        asking = downloads(store, BuildRequest(root=store.root, registries=config))
        file = asking.file(SourceOp(identifier="http://files.invalid/a?b=c"))
    assert store.blobs.read(file.digest) == b"by proxy"
    assert proxy.asked[0].headers["host"] == "files.invalid"


def test_https_is_tunnelled(store):
    heads = []

    def refuse(server):
        with server.accept()[0] as client:
            heads.append(client.recv(4096))
            client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=refuse, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        policy = Policy(timeout=5, attempts=1, proxy=lambda _: url)
        asking = HttpSources(store=store, policy=policy)
        with pytest.raises(RegistryError, match="403"):
            asking.file(SourceOp(identifier="https://files.invalid/a"))
        thread.join()
    assert heads[0].startswith(b"CONNECT files.invalid:443 ")
