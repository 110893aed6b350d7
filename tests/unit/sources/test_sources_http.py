import hashlib
import socket

import pytest
from support.web import Answer, web

from lazybuild.errors import BuildError, IntegrityError, LazybuildError, RegistryError
from lazybuild.llb.ops import SourceOp
from lazybuild.sources import fetch
from lazybuild.sources.fetch import Policy
from lazybuild.sources.http import HttpSources, safe_name
from lazybuild.store import Store

QUICK = Policy(timeout=2, attempts=2, first_wait=0.01)


@pytest.fixture
def site():
    with web() as served:
        yield served


@pytest.fixture
def sources(tmp_path):
    with Store(tmp_path / "store") as store:
        yield HttpSources(store=store, policy=QUICK)


def fresh(sources):
    """The sources of the next build."""
    return HttpSources(store=sources.store, policy=QUICK)


def op(url, **attrs):
    pairs = {f"http.{name}": value for name, value in attrs.items()}
    return SourceOp(identifier=url, attrs=tuple(sorted(pairs.items())))


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def item(sources, file):
    (found,) = sources.items(file)
    return found


def test_a_file_with_the_metadata_of_the_reference(site, sources):
    modified = "Wed, 21 Oct 2015 07:28:00 GMT"
    site.answers["/x/y.txt"] = Answer(b"hello", headers={"Last-Modified": modified})
    file = sources.file(op(f"{site.url}/x/y.txt"))
    assert (file.name, file.mode, file.uid, file.gid) == ("y.txt", 0o600, 0, 0)
    assert file.mtime == 1445412480_000_000_000
    assert file.digest == digest(b"hello")
    found = item(sources, file)
    with found.open() as stream:
        assert stream.read() == b"hello"
    assert found.entry.size == 5


def test_attributes_decide_over_the_server(site, sources):
    site.answers["/f"] = Answer(b"", headers={"Content-Disposition": 'attachment; filename="n"'})
    file = sources.file(op(f"{site.url}/f", filename="mine", perm="0755", uid="3", gid="4"))
    assert (file.name, file.mode, file.uid, file.gid) == ("mine", 0o755, 3, 4)
    assert file.mtime == 0
    assert item(sources, file).open is None
    assert sources.file(op(f"{site.url}/f")).name == "n"


@pytest.mark.parametrize(
    ("offered", "name"),
    [
        ("../../x", "x"), ("/etc/passwd", "passwd"), ("..", ""), ("", ""), ("a\\..\\b", "b"),
        ("a/", "a"), ("x\0y", ""), ("n" * 300, ""), (".wh.etc", ""), ("a b", "a b"),
    ],
)  # fmt: skip
def test_names_are_one_part(offered, name):
    assert safe_name(offered) == name


def test_hostile_dispositions_fall_back_to_the_url(site, sources):
    site.answers["/real.bin"] = Answer(headers={"Content-Disposition": "attachment; filename=.."})
    assert sources.file(op(f"{site.url}/real.bin")).name == "real.bin"
    site.answers["/"] = Answer()
    assert sources.file(op(f"{site.url}/")).name == "download"


def test_a_second_time_asks_whether_it_changed(site, sources):
    def answer(asked):
        if asked.headers.get("if-none-match") == '"1"':
            return Answer(status=304)
        return Answer(b"one", headers={"ETag": '"1"'})

    site.answers["/f"] = answer
    first = sources.file(op(f"{site.url}/f"))
    assert sources.file(op(f"{site.url}/f")) == first
    assert len(site.asked) == 1
    assert fresh(sources).file(op(f"{site.url}/f")) == first
    assert [("if-none-match" in asked.headers) for asked in site.asked] == [False, True]
    site.answers["/f"] = Answer(b"two")
    assert fresh(sources).file(op(f"{site.url}/f")).digest == digest(b"two")


def test_by_date_when_there_is_no_tag(site, sources):
    modified = "Wed, 21 Oct 2015 07:28:00 GMT"
    site.answers["/f"] = lambda asked: (
        Answer(status=304)
        if asked.headers.get("if-modified-since") == modified
        else Answer(b"one", headers={"Last-Modified": modified})
    )
    assert sources.file(op(f"{site.url}/f")) == fresh(sources).file(op(f"{site.url}/f"))
    assert len(site.asked) == 2


def test_bytes_that_went_away_are_fetched_again(site, sources):
    site.answers["/f"] = Answer(b"one", headers={"ETag": '"1"'})
    file = sources.file(op(f"{site.url}/f"))
    sources.store.blobs.delete(file.digest)
    assert fresh(sources).file(op(f"{site.url}/f")) == file
    assert "if-none-match" not in site.asked[1].headers


def test_a_known_checksum_needs_no_network(site, sources):
    site.answers["/f"] = Answer(b"one")
    wanted = op(f"{site.url}/f", checksum=digest(b"one"))
    assert sources.file(wanted) == fresh(sources).file(wanted)
    assert len(site.asked) == 1


def test_a_wrong_checksum_keeps_nothing(site, sources):
    site.answers["/f"] = Answer(b"one")
    with pytest.raises(IntegrityError, match="expected sha256:0000"):
        sources.file(op(f"{site.url}/f", checksum="sha256:" + "0" * 64))
    assert list(sources.store.blobs.all()) == []


@pytest.mark.parametrize("checksum", ["md5:" + "0" * 32, "sha512:" + "0" * 128, "sha256:xy"])
def test_other_checksums_are_refused(site, sources, checksum):
    with pytest.raises(LazybuildError, match="sha256"):
        sources.file(op(f"{site.url}/f", checksum=checksum))
    assert site.asked == []


def test_redirects_are_followed(site, sources):
    site.answers["/a"] = Answer(status=302, headers={"Location": "/b"})
    site.answers["/b"] = Answer(b"there")
    file = sources.file(op(f"{site.url}/a"))
    assert (file.digest, file.name) == (digest(b"there"), "b")


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://x/y",
        "http://169.254.169.254/latest",
        "gopher://x",
        "http://[::1/",
        "//[x]/y",
    ],
)
def test_redirects_elsewhere_are_refused(site, sources, location):
    site.answers["/a"] = Answer(status=302, headers={"Location": location})
    with pytest.raises(BuildError, match="refused"):
        sources.file(op(f"{site.url}/a"))


@pytest.mark.parametrize("url", ["http://[::1/x", "https://[x]/y", "http://a:b/x", "http://"])
def test_what_is_no_url_is_refused(sources, url):
    with pytest.raises(BuildError, match="URL"):
        sources.file(op(url))


def test_redirects_in_a_circle_end(site, sources):
    site.answers["/a"] = Answer(status=302, headers={"Location": "/a"})
    with pytest.raises(BuildError, match="more than 10 redirects"):
        sources.file(op(f"{site.url}/a"))


def test_a_name_that_resolves_to_a_link_local_address(sources, monkeypatch):
    real = socket.getaddrinfo

    def resolver(host, port, *args, **more):
        literal = "169.254.169.254" if host == "metadata.example" else host
        return real(literal, port, *args, **more)

    monkeypatch.setattr(fetch.socket, "getaddrinfo", resolver)
    with pytest.raises(BuildError, match=r"169\.254\.169\.254, a link-local"):
        sources.file(op("http://metadata.example/latest/meta-data"))


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]",
             "0xa9fea9fe", "2852039166", "100.100.100.200"]
)  # fmt: skip
def test_link_local_addresses_in_every_spelling(sources, host):
    with pytest.raises(BuildError, match="link-local"):
        sources.file(op(f"http://{host}/"))


def test_credentials_stay_at_home(site, sources):
    with web() as other:
        other.answers["/b"] = Answer(b"x")
        site.answers["/a"] = Answer(status=302, headers={"Location": f"{other.url}/b"})
        host = site.url.removeprefix("http://")
        secret = {f"HTTP_AUTH_TOKEN_{host}": b"hush\n"}
        with_secret = HttpSources(store=sources.store, policy=QUICK, secrets=secret.get)
        with_secret.file(op(f"{site.url}/a"))
        assert site.asked[0].headers["authorization"] == "Bearer hush"
        assert "authorization" not in other.asked[0].headers


def test_a_whole_header_from_a_secret(site, sources):
    host = site.url.removeprefix("http://")
    secret = {f"HTTP_AUTH_HEADER_{host}": b"Basic abc"}
    site.answers["/a"] = Answer(b"x")
    HttpSources(store=sources.store, policy=QUICK, secrets=secret.get).file(op(f"{site.url}/a"))
    assert site.asked[0].headers["authorization"] == "Basic abc"


def test_status_and_missing_bytes(site, sources):
    site.answers["/gone"] = Answer(status=410)
    with pytest.raises(BuildError, match="status 410"):
        sources.file(op(f"{site.url}/gone"))
    site.answers["/sick"] = Answer(status=503)
    with pytest.raises(RegistryError, match="status 503"):
        sources.file(op(f"{site.url}/sick"))
    assert len(site.asked) == 3
    site.answers["/short"] = Answer(b"abc", length=10)
    with pytest.raises(RegistryError, match="short"):
        sources.file(op(f"{site.url}/short"))
    assert list(sources.store.blobs.all()) == []


def test_a_server_that_recovers(site, sources):
    answers = [Answer(status=500), Answer(b"well")]
    site.answers["/f"] = lambda _: answers.pop(0)
    assert sources.file(op(f"{site.url}/f")).digest == digest(b"well")


def test_nobody_there(sources):
    with pytest.raises(RegistryError, match="refused"):
        sources.file(op("http://127.0.0.1:1/f"))


def test_urls_with_a_user_are_refused_without_showing_it(sources):
    with pytest.raises(BuildError) as caught:
        sources.file(op("http://me:hush@127.0.0.1:1/f"))
    assert "hush" not in str(caught.value)
