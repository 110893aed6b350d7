"""Files and helpers: who is found for whom, in which order, and what is never started."""

import base64
import json
import os

import pytest
from support.registry import LocalRegistry
from support.registry_door import Door

from lazybuild.errors import RegistryError, UsageError
from lazybuild.registry import assembly, credentials, login
from lazybuild.registry.config import RegistryConfig


def auth(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:pw".encode()).decode()}


def write(path, value) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture
def find(tmp_path, warned):
    """Look up with the given options; the home is empty but for what the test writes."""

    def look_up(registry: str, repository: str = "a/b", environ=None, **options):
        base = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
        config = RegistryConfig(environ=base | (environ or {}), **options)
        return assembly.find_credentials(config, warned.append).find(registry, repository)

    return look_up


@pytest.fixture
def helper(tmp_path):
    """Install a docker-credential-NAME that runs a line of shell; gives the PATH for it."""

    def install(name: str, script: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return {"PATH": f"{folder}:/usr/bin:/bin"}

    return install


def test_the_order_of_the_places(find, tmp_path):
    """The first that knows the host wins; each step takes away the winner."""
    places = [
        ("runtime", tmp_path / "run/containers/auth.json"),
        ("xdg", tmp_path / ".config/containers/auth.json"),
        ("docker-config", tmp_path / "dc/config.json"),
        ("docker", tmp_path / ".docker/config.json"),
    ]
    for name, path in places:
        write(path, {"auths": {"r.example": auth(name)}})
    named = write(tmp_path / "named.json", {"auths": {"r.example": auth("named")}})
    given = write(tmp_path / "given.json", {"auths": {"r.example": auth("given")}})
    environ = {
        "DOCKER_CONFIG": str(tmp_path / "dc"),
        "REGISTRY_AUTH_FILE": named,
        "DOCKER_AUTH_CONFIG": json.dumps({"auths": {"r.example": auth("inline")}}),
    }
    seen = [find("r.example", environ=environ, authfile=given, creds="flag:pw").username]
    seen.append(find("r.example", environ=environ, authfile=given).username)
    for variable in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"):
        seen.append(find("r.example", environ=environ).username)
        del environ[variable]
    for _, path in places:
        seen.append(find("r.example", environ=environ).username)
        path.unlink()
    assert seen == ["flag", "given", "named", "inline", *(name for name, _ in places)]
    assert find("r.example", environ=environ) is None


@pytest.mark.parametrize(
    ("key", "registry", "found"),
    [
        ("ghcr.io", "ghcr.io", True),
        ("https://ghcr.io", "ghcr.io", True),
        ("https://ghcr.io/v2/", "ghcr.io", True),
        ("ghcr.io", "ghcr.io.evil.com", False),
        ("ghcr.io", "evil.com", False),
        ("evil/ghcr.io", "ghcr.io", False),
        ("ghcr.io", "ghcr.io:444", False),
        ("ghcr.io:444", "ghcr.io:444", True),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("docker.io", "docker.io", True),
        ("index.docker.io", "docker.io", True),
        ("https://index.docker.io.evil.com/v1/", "docker.io", False),
        ("host/a", "host", True),
        ("host/a/b", "host", True),
        ("host/a/b/c", "host", False),
        ("host/aa", "host", False),
    ],
)
def test_a_host_is_matched_exactly_and_a_path_on_its_boundaries(
    find, tmp_path, key, registry, found
):
    write(tmp_path / ".docker/config.json", {"auths": {key: auth("me")}})
    assert (find(registry, "a/b") is not None) == found


def test_the_longest_path_wins(find, tmp_path):
    auths = {"host": auth("host"), "host/a/b": auth("ab"), "host/a": auth("a")}
    write(tmp_path / ".docker/config.json", {"auths": auths})
    names = [find("host", r).username for r in ("a/b/c", "a/x", "x")]
    assert names == ["ab", "a", "host"]


def test_a_helper_for_the_host_goes_before_the_store_and_the_file(find, tmp_path, helper):
    helper("store", 'echo \'{"Username":"store","Secret":"s"}\'')
    environ = helper(
        "own", 'read server; echo "{\\"Username\\":\\"$server\\",\\"Secret\\":\\"s\\"}"'
    )
    write(
        tmp_path / ".docker/config.json",
        {
            "credHelpers": {"r.example": "own"},
            "credsStore": "store",
            "auths": {"r.example": auth("file"), "other": {}},
        },
    )
    assert find("r.example", environ=environ).username == "r.example"
    assert find("other", environ=environ).username == "store"
    assert find("docker.io", environ=environ).username == "store"


def test_a_helper_that_knows_nothing_leaves_it_to_the_file(find, tmp_path, helper):
    environ = helper("s", "echo credentials not found in native keychain; exit 1")
    write(tmp_path / ".docker/config.json", {"credsStore": "s", "auths": {"r": auth("file")}})
    assert find("r", environ=environ).username == "file"


def test_the_user_token_means_an_identity_token(find, tmp_path, helper):
    environ = helper("s", 'echo \'{"Username":"<token>","Secret":"idt"}\'')
    write(tmp_path / ".docker/config.json", {"credHelpers": {"r": "s"}})
    found = find("r", environ=environ)
    assert (found.identity_token, found.username, found.password) == ("idt", "", "")
    assert "idt" not in repr(found)


@pytest.mark.parametrize("name", ["../../x", "/bin/sh", "a/b", "", ".", "..", "x y", "-x", "x\n"])
def test_a_helper_name_is_no_path(name, tmp_path):
    with pytest.raises(UsageError, match="helper"):
        credentials.find_helper(name, {"PATH": str(tmp_path)})


@pytest.mark.parametrize("path", ["", ".", "bin", ":bin", "bin:."])
def test_no_helper_comes_from_the_working_directory(monkeypatch, tmp_path, helper, path):
    helper("evil", "echo '{}'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(RegistryError, match="docker-credential-evil is not installed"):
        credentials.find_helper("evil", {"PATH": path})


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("echo junk", "something else than JSON"),
        ("echo '[]'", "something else than JSON"),
        ('echo \'{"Username": 5, "Secret": "x"}\'', "not strings"),
        ("echo the vault is sealed >&2; echo more >&2; exit 3", "the vault is sealed"),
    ],
)
def test_a_helper_that_misbehaves_is_named(find, tmp_path, helper, script, what):
    environ = helper("bad", script)
    write(tmp_path / ".docker/config.json", {"credHelpers": {"r": "bad"}})
    with pytest.raises(RegistryError, match=what) as caught:
        find("r", environ=environ)
    assert "docker-credential-bad" in caught.value.message


def test_a_helper_that_hangs_is_given_up(helper):
    environ = helper("slow", "exec sleep 20")
    with pytest.raises(RegistryError, match=r"no answer within 0\.2 s"):
        credentials.ask_helper("slow", "r", environ=environ, seconds=0.2)


def test_a_missing_store_does_not_stop_public_images(find, tmp_path, warned):
    write(tmp_path / ".docker/config.json", {"credsStore": "desktop"})
    assert find("r", environ={"PATH": "/usr/bin"}) is None
    assert "docker-credential-desktop" in warned[0]


def test_a_helper_runs_once_for_many_questions(tmp_path, helper, warned):
    environ = helper("s", f'echo x >> {tmp_path}/runs; echo \'{{"Username":"u","Secret":"s"}}\'')
    write(tmp_path / ".docker/config.json", {"credsStore": "s"})
    config = RegistryConfig(environ={"HOME": str(tmp_path), **environ})
    source = assembly.find_credentials(config, warned.append)
    assert {source.find("r", "a").username for _ in range(5)} == {"u"}
    assert (tmp_path / "runs").read_text() == "x\n"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": [1]}', '{"auths": {"r": {"auth": "%%"}}}', "[" * 100_000]
)
def test_a_broken_file_is_a_usage_error_without_its_text(find, tmp_path, text):
    path = tmp_path / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match=r"config\.json") as caught:
        find("r")
    assert "%%" not in caught.value.message


def test_a_file_named_on_the_command_line_must_exist(find, tmp_path):
    with pytest.raises(UsageError, match="no such authentication file"):
        find("r", authfile=str(tmp_path / "none.json"))


def test_a_file_that_all_can_read_is_warned_of(find, tmp_path, warned):
    path = tmp_path / ".docker/config.json"
    write(path, {"auths": {"r": auth("me")}})
    assert find("r")
    assert warned == []
    path.chmod(0o644)
    assert find("r")
    assert "chmod 600" in warned[0]


def test_a_file_of_another_user_is_warned_of(find, tmp_path, warned, monkeypatch):
    """Root gives the file away; anybody else becomes another user."""
    path = tmp_path / ".docker/config.json"
    write(path, {"auths": {"r": auth("me")}})
    owner = os.getuid() or 12345
    os.chown(path, owner, -1)
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert find("r")
    assert f"uid {owner}" in warned[0]


def test_creds_want_a_user_and_a_password(find):
    with pytest.raises(UsageError, match="USER:PASSWORD"):
        find("r", creds="only-a-user")


def test_login_tries_keeps_and_logout_forgets(tmp_path):
    with LocalRegistry(door=Door(kind="token", users={"me": "pw"})) as registry:
        path = tmp_path / ".docker/config.json"
        write(path, {"HttpHeaders": {"a": "b"}, "auths": {"other": auth("x")}})
        config = RegistryConfig(environ={"HOME": str(tmp_path)}, retry_wait=0.01)
        with pytest.raises(RegistryError, match="401"):
            login.login(config, registry.host, "me", "wrong")
        assert login.login(config, registry.host, "me", "pw") == str(path)
        kept = json.loads(path.read_text())
        assert kept["HttpHeaders"] == {"a": "b"}
        assert set(kept["auths"]) == {"other", registry.host}
        assert path.stat().st_mode & 0o777 == 0o600
        source = assembly.find_credentials(config, lambda _: None)
        assert source.find(registry.host, "a").password == "pw"
        assert login.logout(config, registry.host)
        assert not login.logout(config, registry.host)
        assert set(json.loads(path.read_text())["auths"]) == {"other"}


def test_login_hands_over_to_a_helper(tmp_path, helper):
    with LocalRegistry(door=Door(kind="basic", users={"me": "pw"})) as registry:
        environ = helper("s", f'echo "$1 $(cat)" >> {tmp_path}/said')
        write(tmp_path / ".docker/config.json", {"credsStore": "s"})
        config = RegistryConfig(environ={"HOME": str(tmp_path), **environ})
        assert login.login(config, registry.host, "me", "pw") == "docker-credential-s"
        verb, _, said = (tmp_path / "said").read_text().partition(" ")
        assert verb == "store"
        assert json.loads(said) == {
            "ServerURL": registry.host,
            "Username": "me",
            "Secret": "pw",
        }
        assert "pw" not in (tmp_path / ".docker/config.json").read_text()
