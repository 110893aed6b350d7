"""Downloads through a proxy: whole URLs for http, a tunnel for https."""

import gc

import pytest
from support.proxy import proxy
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


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # http.client leaves a refused one open
def test_https_is_tunnelled(store):
    with proxy(None) as between:
        policy = Policy(timeout=5, attempts=1, proxy=lambda _: between.url("me:secret@"))
        asking = HttpSources(store=store, policy=policy)
        with pytest.raises(RegistryError, match="407") as caught:
            asking.file(SourceOp(identifier="https://files.invalid/a"))
    assert between.heads[0].startswith("CONNECT files.invalid:443 ")
    assert "Proxy-Authorization: Basic bWU6c2VjcmV0" in between.heads[0]
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    del caught, asking
    gc.collect()


def test_plain_http_tells_the_proxy_who_asks(store):
    with web() as site:
        site.answers["http://files.invalid/a"] = Answer(b"by proxy")
        place = site.url.replace("http://", "http://me:secret@")
        asking = HttpSources(store=store, policy=Policy(timeout=5, proxy=lambda _: place))
        asking.file(SourceOp(identifier="http://files.invalid/a"))
    assert site.asked[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
