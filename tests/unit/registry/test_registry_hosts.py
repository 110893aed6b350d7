"""From names to places: Docker Hub, loopback, insecure hosts, registries.conf, hosts.toml."""

import pytest

from lazybuild.errors import RegistryError, UsageError
from lazybuild.registry import mirrors
from lazybuild.registry.config import RegistryConfig
from lazybuild.registry.hosts import Hosts, split_name


def conf(tmp_path, text: str) -> Hosts:
    path = tmp_path / "registries.conf"
    path.write_text(text)
    return Hosts(mirrors.read_conf(path))


def hosts_toml(tmp_path, name: str, text: str) -> Hosts:
    path = tmp_path / name / "hosts.toml"
    path.parent.mkdir()
    path.write_text(text)
    return Hosts(mirrors.read_hosts(path))


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_a_special_host(host):
    (hub,) = Hosts().pull(f"{host}/library/debian")
    assert (hub.host, hub.registry, hub.schemes) == (
        "registry-1.docker.io",
        "docker.io",
        ("https",),
    )


@pytest.mark.parametrize(
    ("host", "schemes", "verify"),
    [
        ("ghcr.io", ("https",), True),
        ("127.0.0.1:5000", ("http", "https"), True),
        ("127.5.5.5", ("http", "https"), True),
        ("[::1]:5000", ("http", "https"), True),
        ("localhost", ("http", "https"), True),
        ("localhost.evil.com", ("https",), True),
        ("127.0.0.1.evil.com", ("https",), True),
        ("10.0.0.1:5000", ("https",), True),
        ("plain.example:5000", ("https", "http"), False),
        ("named.example:1234", ("https", "http"), False),
    ],
)
def test_plain_http_is_for_loopback_and_for_hosts_named_insecure(host, schemes, verify):
    table = Hosts(insecure=frozenset({"plain.example:5000", "named.example"}))
    (place,) = table.pull(f"{host}/a/b")
    assert (place.schemes, place.verify) == (schemes, verify)


def test_every_host_can_be_insecure():
    assert Hosts(insecure=frozenset({"*"})).push("r.example/a").schemes == ("https", "http")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "host",
        "host/",
        "/a",
        "ho st/a",
        "host/a/../b",
        "host/.a",
        "-h/a",
        "host:x/a",
        "host:99999/a",
        "host:0/a",
        "[::zz]/a",
        "[:::]:1/a",
        "[1]/a",
    ],
)
def test_names_are_checked(name):
    with pytest.raises(UsageError):
        split_name(name)


def test_mirrors_come_first_and_the_longest_prefix_decides(tmp_path):
    table = conf(
        tmp_path,
        """
        unqualified-search-registries = ["docker.io"]
        [[registry]]
        prefix = "r.example"
        location = "r.example"
        [[registry.mirror]]
        location = "m1.example:5000/proxy"
        insecure = true
        [[registry.mirror]]
        location = "m2.example"
        [[registry]]
        prefix = "r.example/special"
        location = "else.example/there"
        """,
    )
    first, second, origin = table.pull("r.example/a/b")
    assert (first.host, first.repository, first.schemes) == (
        "m1.example:5000",
        "proxy/a/b",
        ("https", "http"),
    )
    assert (second.host, second.repository) == ("m2.example", "a/b")
    assert (origin.host, origin.repository) == ("r.example", "a/b")
    (moved,) = table.pull("r.example/special/c")
    assert moved.name == "else.example/there/c"
    assert table.push("r.example/a/b").host == "r.example"
    assert table.pull("r.example/specialist")[0].host == "m1.example:5000"
    assert table.pull("sub.r.example/a")[0].host == "sub.r.example"


def test_docker_hub_by_its_short_name(tmp_path):
    table = conf(
        tmp_path,
        '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "mirror.gcr.io"\n',
    )
    mirror, origin = table.pull("docker.io/library/debian")
    assert mirror.name == "mirror.gcr.io/library/debian"
    assert (origin.host, origin.registry) == ("registry-1.docker.io", "docker.io")


def test_wild_cards_meet_subdomains_only(tmp_path):
    table = conf(tmp_path, '[[registry]]\nprefix = "*.example"\ninsecure = false\nblocked = true\n')
    with pytest.raises(RegistryError, match=r"blocked by .*registries\.conf"):
        table.pull("a.example/x")
    table.pull("example/x")
    table.pull("notexample/x")


@pytest.mark.parametrize(
    ("use", "tag", "digest"),
    [("all", True, True), ("digest-only", False, True), ("tag-only", True, False)],
)
def test_a_mirror_for_tags_or_digests(tmp_path, use, tag, digest):
    table = conf(
        tmp_path,
        '[[registry]]\nlocation = "r"\n[[registry.mirror]]\nlocation = "m"\n'
        f'pull-from-mirror = "{use}"\n',
    )
    assert (len(table.pull("r/a", by_digest=False)) == 2) == tag
    assert (len(table.pull("r/a", by_digest=True)) == 2) == digest


@pytest.mark.parametrize(
    "text",
    [
        "registry = 5",
        "[[registry]]\ninsecure = true",
        "[[registry]]\nlocation = 5",
        '[[registry]]\nlocation = "r"\nblocked = "yes"',
        '[[registry]]\nlocation = "r"\n[[registry.mirror]]\n',
        '[[registry]]\nlocation = "r"\n[[registry.mirror]]\nlocation = "m"\npull-from-mirror="x"',
        "not toml",
        "\udcff",
    ],
)
def test_a_registries_conf_that_makes_no_sense_is_named(tmp_path, text):
    path = tmp_path / "registries.conf"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=r"registries\.conf"):
        mirrors.read_conf(path)


def test_hosts_toml_in_order_with_namespace_and_path(tmp_path):
    table = hosts_toml(
        tmp_path,
        "docker.io",
        """
        server = "https://registry-1.docker.io"
        [host."https://m1.example/v2/hub"]
        capabilities = ["pull"]
        override_path = true
        skip_verify = true
        ca = "ca.crt"
        client = [["c.cert", "c.key"]]
        [host."https://m1.example/v2/hub".header]
        X-Team = "a"
        [host."http://m2.example:5000"]
        capabilities = ["pull", "resolve", "push"]
        """,
    )
    first, second, last = table.pull("docker.io/library/debian")
    assert (first.host, first.base, first.namespace) == ("m1.example", "/v2/hub", "docker.io")
    assert (first.verify, first.headers) == (False, (("X-Team", "a"),))
    assert first.authorities == (str(tmp_path / "docker.io/ca.crt"),)
    assert first.client_certificates[0][1] == str(tmp_path / "docker.io/c.key")
    assert (second.host, second.schemes, second.base) == ("m2.example:5000", ("http",), "/v2")
    assert last.namespace == ""
    by_tag = table.pull("docker.io/library/debian", by_digest=False)
    assert by_tag[0].host == "m2.example:5000"
    assert table.push("docker.io/library/debian").host == "m2.example:5000"


def test_a_hosts_toml_without_hosts_names_its_server(tmp_path):
    table = hosts_toml(tmp_path, "r.example:5000", 'server = "http://inner.example:5001"\n')
    (only,) = table.pull("r.example:5000/a")
    assert (only.host, only.schemes) == ("inner.example:5001", ("http",))


@pytest.mark.parametrize(
    "text",
    [
        'server = "ftp://x"',
        "host = 5",
        '[host."file:///etc"]',
        '[host."https://m"]\ncapabilities = "pull" \nca = 5',
        '[host."https://m"]\nclient = 5',
        '[host."https://m"]\nheader = 5',
        "[host]\nx = 5",
        '[host."https://u:p@m"]',
    ],
)
def test_a_hosts_toml_that_makes_no_sense_is_named(tmp_path, text):
    with pytest.raises(UsageError, match=r"hosts\.toml"):
        hosts_toml(tmp_path, "r", text)


def test_files_are_found_where_they_belong(tmp_path):
    own = tmp_path / ".config/containers"
    (own / "registries.conf.d").mkdir(parents=True)
    (own / "registries.conf").write_text('[[registry]]\nlocation = "main"\nblocked = true\n')
    drop_in = own / "registries.conf.d/50.conf"
    drop_in.write_text('[[registry]]\nlocation = "drop"\nblocked = true\n')
    certs = tmp_path / ".config/containerd/certs.d/main"
    certs.mkdir(parents=True)
    (certs / "hosts.toml").write_text('server = "https://elsewhere"\n')
    rules = mirrors.load_rules(RegistryConfig(environ={"HOME": str(tmp_path)}))
    by_prefix = {rule.prefix: rule for rule in rules}
    assert by_prefix["drop"].blocked
    assert not by_prefix["main"].blocked  # hosts.toml goes first


def test_a_config_survives_the_way_to_another_process():
    config = RegistryConfig(
        environ={"A": "b"}, creds="u:p", insecure=("x",), seconds=3.5, trusted_realms=("r",)
    )
    assert RegistryConfig.from_json(config.to_json()) == config
