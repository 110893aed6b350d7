"""Small grammars: durations, sizes, ports, signals, modes, Go's %q, git URLs, mounts, names."""

import pytest

from lazybuild.dockerfile import gotext, paths
from lazybuild.dockerfile.durations import nanoseconds, size_bytes, spell
from lazybuild.dockerfile.epoch import filename
from lazybuild.dockerfile.flags import Value
from lazybuild.dockerfile.giturl import parse_git
from lazybuild.dockerfile.hints import hint
from lazybuild.dockerfile.modes import parse_mode
from lazybuild.dockerfile.mounts import mount_stage, read_mount
from lazybuild.dockerfile.ports import expand_port
from lazybuild.dockerfile.signals import known
from lazybuild.errors import DockerfileError, Span
from lazybuild.llb.ops import MountType, Sharing

SECOND = 10**9
HERE = Span(path="Dockerfile", line=1, end_line=1)


@pytest.mark.parametrize(
    ("text", "value", "spelled"),
    [
        ("0", 0, "0s"),
        ("1h30m", 5400 * SECOND, "1h30m0s"),
        ("1.5s", SECOND * 3 // 2, "1.5s"),
        ("250ms", SECOND // 4, "250ms"),
        ("90s", 90 * SECOND, "1m30s"),
        (".5m", 30 * SECOND, "30s"),
        ("1ms1us", 1_001_000, "1.001ms"),
        ("1500us", 1_500_000, "1.5ms"),
        ("12µs", 12_000, "12µs"),
        ("7ns", 7, "7ns"),
        ("-2s", -2 * SECOND, "-2s"),
    ],
)
def test_durations(text, value, spelled):
    assert nanoseconds(text) == value
    assert spell(value) == spelled


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1 s", "\u0661s", "9" * 30 + "h", "1s "])
def test_no_durations(text):
    with pytest.raises(ValueError, match="invalid duration"):
        nanoseconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("64m", 64 << 20), ("1G", 1 << 30), ("100", 100), ("1.5k", 1536), ("2 MiB", 2 << 20)],
)
def test_sizes(text, value):
    assert size_bytes(text) == value


@pytest.mark.parametrize("text", ["", "m", "-1m", "1z", "1e9", "9" * 40])
def test_no_sizes(text):
    with pytest.raises(ValueError, match="invalid size"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("80", ("80/tcp",)),
        ("80/UDP", ("80/udp",)),
        ("9-11/sctp", ("9/sctp", "10/sctp", "11/sctp")),
        ("8080:80", ("80/tcp",)),
        ("127.0.0.1:8080:80/udp", ("80/udp",)),
        ("[::1]:8080:80", ("80/tcp",)),
        ("9000-9001:80", ("80/tcp",)),
        ("80/", ("80/tcp",)),
    ],
)
def test_ports(text, keys):
    assert expand_port(text) == keys


@pytest.mark.parametrize(
    "text", ["", "/tcp", "x", "80/icmp", "65536", "9-8", "-1", "1.2.3:1:2", "1-2:3-9", "a:80"]
)
def test_no_ports(text):
    with pytest.raises(ValueError):
        expand_port(text)


@pytest.mark.parametrize("signal", ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-14", "sigchld"])
def test_signals(signal):
    assert known(signal)


@pytest.mark.parametrize("signal", ["", "0", "SIGNOPE", "RTMIN+16", "-", "SIG"])
def test_no_signals(signal):
    assert not known(signal)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", (-1, "")),
        ("755", (0o755, "")),
        ("0", (0, "")),
        ("07777", (0o7777, "")),
        ("u=rwX,go=rX", (-1, "u=rwX,go=rX")),
        ("+x", (-1, "+x")),
        ("g=u", (-1, "g=u")),
        ("a-w+x", (-1, "a-w+x")),
    ],
)
def test_modes(text, mode):
    assert parse_mode(text) == mode


@pytest.mark.parametrize("text", ["888", "10000", "u", "rwx", "u=z", "u+x,", "0o755", "g=uo"])
def test_no_modes(text):
    with pytest.raises(ValueError, match="invalid chmod parameter"):
        parse_mode(text)


def test_go_quotes():
    assert gotext.quoted('a"\\\n\té\x01\u2028') == '"a\\"\\\\\\n\\té\\x01\\u2028"'
    assert gotext.quoted("\udcff") == '"\\xff"'
    assert gotext.quoted_list(["a", "b c"]) == '["a" "b c"]'
    assert gotext.plain_list([]) == "[]"


@pytest.mark.parametrize(
    ("parent", "path", "result"),
    [
        ("/w", "a", "/w/a"),
        ("/w", "a/", "/w/a/"),
        ("/w", ".", "/w/"),
        ("/w", "", "/w/"),
        ("/w", "./", "/w/"),
        ("/w", "..", "/"),
        ("/w", "../../x/.", "/x/."),
        ("/w", "/", "/"),
        ("/w", "/a//b/", "/a/b/"),
        ("/", ".", "/"),
    ],
)
def test_destinations(parent, path, result):
    assert paths.destination(parent, path) == result


def test_wildcards():
    assert [paths.has_wildcard(path) for path in ("a*", "a?", "[a]", r"a\*", "a", r"\\*")] == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]


def test_used_paths():
    assert paths.used({"/b", "/a/c"}) == ("a/c", "b")
    assert paths.used({"/b", "/"}) == ()
    assert paths.used(set()) == ()


@pytest.mark.parametrize(
    ("text", "identifier", "extra"),
    [
        ("https://x.org/a/b.git", "git://x.org/a/b.git", {}),
        ("https://x.org/b.git#v1:sub/dir", "git://x.org/b.git#v1:sub/dir", {}),
        ("https://x.org/b.git#:sub", "git://x.org/b.git#:sub", {}),
        ("git@x.org:a/b.git#main", "git://x.org/a/b.git#main", {"git.mountsshsock": "default"}),
        ("ssh://git@x.org:22/b", "git://x.org:22/b", {"git.mountsshsock": "default"}),
        ("git://x.org/b", "git://x.org/b", {}),
        ("https://x.org/b.git?tag=v1&subdir=d", "git://x.org/b.git#refs/tags/v1:d", {}),
        ("https://x.org/b.git?branch=m", "git://x.org/b.git#refs/heads/m", {}),
        ("https://x.org/b.git?submodules=0", "git://x.org/b.git", {"git.skipsubmodules": "true"}),
        ("https://x.org/b.git?commit=abc", "git://x.org/b.git", {"git.checksum": "abc"}),
        ("https://x.org/b.git?keep-git-dir", "git://x.org/b.git", {"git.keepgitdir": "true"}),
    ],
)
def test_git_urls(text, identifier, extra):
    url = parse_git(text)
    assert url is not None
    assert url.identifier == identifier
    assert extra.items() <= url.attrs().items()
    assert url.attrs()["git.fullurl"] == url.remote
    assert "#" not in url.remote


@pytest.mark.parametrize(
    "text", ["a.git", "./x.git", "https://x.org/a", "ftp://x/a.git", "x@y", ""]
)
def test_no_git_urls(text):
    assert parse_git(text) is None


@pytest.mark.parametrize(
    "query",
    ["ref=", "nope=1", "ref=a&ref=b", "tag=a&branch=b", "submodules=x", "mtime=now", "ref=a#b"],
)
def test_wrong_git_queries(query):
    with pytest.raises(ValueError):
        parse_git(f"https://x.org/b.git?{query}")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.org/a/b.txt?q=1#f", "b.txt"),
        ("https://x.org/a%20b", "a b"),
        ("https://x.org/a/", "a"),
        ("https://x.org", "__unnamed__"),
        ("https://x.org/..", "__unnamed__"),
        ("https://[", "__unnamed__"),
    ],
)
def test_file_names_of_urls(url, name):
    assert filename(url) == name


def mount(text, **env):
    return read_mount(Value(text=text, span=HERE), lambda word: env.get(word[1:], word))


def test_mount_defaults():
    assert mount("target=/a").type is MountType.BIND
    assert not mount("target=/a").writable
    assert mount("type=cache,target=/a").writable
    assert mount("type=tmpfs,target=/a").writable
    assert not mount("type=cache,target=/a,ro").writable
    assert mount("target=/a,RW").writable
    assert mount("target=/a,readonly=false").writable


def test_mount_fields():
    found = mount("TYPE=Cache,dst=/a,id=x,sharing=LOCKED,mode=0700,uid=1,gid=2,src=s,from=f")
    assert (found.target, found.id, found.source, found.source_stage) == ("/a", "x", "s", "f")
    assert found.sharing is Sharing.LOCKED
    assert (found.mode, found.uid, found.gid, found.owned) == (0o700, 1, 2, True)
    assert mount("type=tmpfs,target=/t,size=64m").size == 64 << 20
    assert mount("type=secret,id=a,env=A,required").required
    assert mount("type=ssh,required=true").required


def test_mount_quoting_and_expansion():
    assert mount('type=bind,"target=/a,""b"').target == '/a,"b'
    assert mount("type=$T,target=/a", T="cache").type is MountType.CACHE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=bnd,target=/a", "unsupported mount type"),
        ("target", "must be a key=value pair"),
        ("targt", "must be a key=value pair"),
        ("", "a mount needs at least a target"),
        ("targt=/a", "unexpected key 'targt'"),
        ("target=/a,size=1", "unexpected key 'size' for mount type 'bind'"),
        ("target=/a,required", "unexpected key 'required' for mount type 'bind'"),
        ("type=tmpfs,size=x", "invalid value for size"),
        ("target=/a,ro=x", "invalid value for readonly"),
        ("target=/a,uid=1", "uid not allowed"),
        ("target=/a,mode=0755", "mode not allowed"),
        ("type=cache,target=/a,mode=9", "invalid value 9 for mode"),
        ("type=cache,target=/a,uid=-1", "invalid value -1 for uid"),
        ("type=cache,target=/a,sharing=all", "unsupported sharing value"),
        ("target=/a,sharing=locked", "invalid cache sharing set for bind"),
        ("type=secret", "one of source, target required"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,sharing=locked", "secret mount should not define sharing"),
        ("type=ssh,source=a", "ssh does not support source"),
        ('target="/a', "failed to parse csv"),
    ],
)
def test_wrong_mounts(text, message):
    with pytest.raises(DockerfileError) as caught:
        mount(text)
    assert message in caught.value.message
    assert caught.value.span == HERE


def test_mount_from_takes_no_variable():
    assert mount_stage(Value(text="from=a,target=/b", span=HERE)) == "a"
    assert mount_stage(Value(text="target=/b", span=HERE)) == ""
    with pytest.raises(DockerfileError, match="doesn't support variable expansion"):
        mount_stage(Value(text="from=$X,target=/b", span=HERE))


def test_hints():
    assert hint("chownn", ["chmod", "chown"]) == "did you mean chown?"
    assert hint("xyz", ["build"]) == ""
