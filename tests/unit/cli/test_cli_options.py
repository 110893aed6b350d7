"""What the flags mean: outputs, assignments, sizes, durations, secrets, mounts, names of verbs."""

from pathlib import Path

import click
import pytest

from lazybuild.cli import build, config, durations, outputs, prune, run
from lazybuild.cli.images import matches
from lazybuild.cli.login import host_of
from lazybuild.cli.main import guarded
from lazybuild.cli.table import table
from lazybuild.cli.verbs import ALIASES, VERBS, unknown
from lazybuild.errors import UsageError
from lazybuild.request import ALL_STAGES, Output, Pull, Secret, SshAgent


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("out", Output(type="local", dest="out")),
        ("-", Output(type="tar", dest="-")),
        ("type=local,dest=out", Output(type="local", dest="out")),
        ("type=tar,dest=-", Output(type="tar", dest="-")),
        ("type=oci", Output(type="oci", dest="-")),
        ("type=oci,dest=a.tar", Output(type="oci", dest="a.tar")),
        ("type=docker", Output(type="load")),
        ("type=docker,dest=a.tar", Output(type="docker", dest="a.tar")),
        ("type=image", Output(type="image")),
        ("type=image,push=true", Output(type="registry", options={"push": "true"})),
        (
            'type=image,"name=a,b",push=true',
            Output(type="registry", options={"name": "a,b", "push": "true"}),
        ),
        ("type=registry,NAME=x", Output(type="registry", options={"name": "x"})),
    ],
)
def test_outputs(text, output):
    assert outputs.parse(text) == output


@pytest.mark.parametrize("text", ["type=nothing", "dest=x", "type=local", "type=tar", "type=oci,x"])
def test_outputs_that_are_none(text):
    with pytest.raises(UsageError):
        outputs.parse(text)


def test_push_and_load_are_outputs():
    found = outputs.collect(("out",), push=True, load=True)
    assert [output.type for output in found] == ["local", "registry", "load"]


def test_one_output_only_goes_to_standard_output():
    with pytest.raises(UsageError, match="only one"):
        outputs.collect(("-", "type=oci"), push=False, load=False)


def test_assignments_take_bare_names_from_the_environment(monkeypatch):
    monkeypatch.setenv("HERE", "yes")
    monkeypatch.delenv("GONE", raising=False)
    found = config.assignments(("A=1=2", "B=", "HERE", "GONE"), "-x", from_environment=True)
    assert found == {"A": "1=2", "B": "", "HERE": "yes"}
    assert config.assignments(("A",), "-x", from_environment=False) == {"A": ""}
    with pytest.raises(UsageError, match="-x '=v'"):
        config.assignments(("=v",), "-x", from_environment=True)


def test_assignments_from_files(tmp_path):
    path = tmp_path / "env"
    path.write_text("# comment\n\nA=1\nB=two words\n")
    assert config.read_assignments((str(path),), "--env-file") == {"A": "1", "B": "two words"}
    with pytest.raises(UsageError, match="--env-file"):
        config.read_assignments((str(tmp_path / "none"),), "--env-file")


@pytest.mark.parametrize(
    ("text", "size"),
    [("100", 100), ("64m", 64 << 20), ("64MB", 64 << 20), ("1GiB", 1 << 30), ("1.5k", 1536)],
)
def test_sizes(text, size):
    assert config.size(text, "--shm-size") == size


@pytest.mark.parametrize("text", ["m", "x", "", "1y"])
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError):
        config.size(text, "--shm-size")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("24h", 86400), ("1h30m", 5400), ("1.5h", 5400), ("7d", 604800)],
)
def test_durations(text, seconds):
    assert durations.seconds(text, "-x") == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "1 h", "1h junk", "9" * 40 + "s"])
def test_durations_that_are_none(text):
    with pytest.raises(UsageError):
        durations.seconds(text, "-x")


def test_the_store_root_is_looked_up_in_order(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.store_root("") == tmp_path / ".local/share/lazybuild"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert config.store_root("") == Path("/data/lazybuild")
    monkeypatch.setenv("LAZYBUILD_ROOT", "/root-of-env")
    assert config.store_root("") == Path("/root-of-env")
    assert config.store_root("/flag") == Path("/flag")


def test_without_a_home_the_store_is_in_var_tmp(monkeypatch):
    monkeypatch.delenv("HOME")
    assert str(config.store_root("")).startswith("/var/tmp/lazybuild-")
    monkeypatch.setenv("HOME", "/nonexistent")
    assert str(config.store_root("")).startswith("/var/tmp/lazybuild-")


def test_secrets(monkeypatch):
    monkeypatch.setenv("TOKEN", "x")
    assert build.secret("id=a,src=/f") == Secret(id="a", file="/f")
    assert build.secret("id=a,source=/f") == Secret(id="a", file="/f")
    assert build.secret("id=a,env=TOKEN") == Secret(id="a", env="TOKEN")
    assert build.secret("id=TOKEN,type=env") == Secret(id="TOKEN", env="TOKEN")
    assert build.secret("id=TOKEN") == Secret(id="TOKEN", env="TOKEN")
    assert build.secret("id=file") == Secret(id="file", file="file")
    with pytest.raises(UsageError, match="id="):
        build.secret("src=/f")


def test_ssh_agents(monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(UsageError, match="SSH_AUTH_SOCK"):
        build.agent("default")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    assert build.agent("default") == SshAgent(id="default", socket="/run/agent")
    assert build.agent("k=/a,/b") == SshAgent(id="k", keys=("/a", "/b"))


def request(*flags):
    """The request that a command line stands for."""
    context = build.command.make_context("build", list(flags))
    values = dict(context.params)
    for name in ("quiet", "progress", "iidfile", "metadata_file"):
        values.pop(name)
    return build.request_of(values.pop("context"), values)


def test_a_request_of_many_flags(tmp_path):
    made = request(
        "--root", str(tmp_path), "-t", "a", "-t", "b", "--target", "dev", "--build-arg", "X=1",
        "--no-cache-filter", "s", "--pull", "--platform", "linux/amd64,linux/arm64",
        "--shm-size", "1g", "--label", "l=v", "-f", "D", "--network", "none", "ctx",
    )  # fmt: skip
    assert (made.root, made.context, made.dockerfile, made.target) == (tmp_path, "ctx", "D", "dev")
    assert (made.tags, made.build_args, made.labels) == (("a", "b"), {"X": "1"}, {"l": "v"})
    assert (made.no_cache, made.pull, made.shm_size) == (("s",), Pull.ALWAYS, 1 << 30)
    assert made.platforms == ("linux/amd64", "linux/arm64")
    assert made.network == "none"


def test_a_request_without_flags_asks_for_little():
    made = request()
    assert (made.context, made.pull, made.no_cache, made.outputs) == (".", Pull.MISSING, (), ())
    assert request("--no-cache").no_cache == ALL_STAGES


def test_the_epoch_comes_from_the_flag_or_the_environment(monkeypatch):
    assert request().epoch is None
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "17")
    assert request().epoch == 17
    assert request("--source-date-epoch", "0").epoch == 0
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        request()


def wish(*flags):
    context = run.command.make_context("run", list(flags))
    values = dict(context.params)
    values.pop("image")
    return run.wish_of(values.pop("command"), values)


def test_what_stands_after_the_image_belongs_to_the_command(monkeypatch):
    made = wish("-e", "A=1", "-w", "/x", "image", "ls", "-e", "--all")
    assert made.command == ("ls", "-e", "--all")
    assert (made.env, made.cwd, made.entrypoint) == ({"A": "1"}, "/x", None)


def test_an_entrypoint_may_be_taken_away():
    assert wish("--entrypoint", "", "image", "x").entrypoint == ()
    assert wish("--entrypoint", "/bin/sh", "image").entrypoint == ("/bin/sh",)


def test_volumes(tmp_path):
    made = run.volume(f"{tmp_path}:/dest:ro")
    assert (made.source, made.dest, made.readonly) == (tmp_path, "/dest", True)
    for text in ("x", ":/d", f"{tmp_path}:", f"{tmp_path}:/d:huh", "/nonexistent:/d"):
        with pytest.raises(UsageError):
            run.volume(text)


def test_the_policy_of_prune():
    week = prune.policy_of((), "", everything=False)
    assert (week.unused_for, week.keep, week.everything) == (7 * 86400, None, False)
    assert prune.policy_of((), "", everything=True).unused_for == 0
    kept = prune.policy_of(("until=1h,id=ab", "description=RUN"), "1g", everything=False)
    assert (kept.unused_for, kept.keep, kept.ids) == (3600, 1 << 30, ("ab",))
    assert kept.description == "RUN"
    mounts = prune.policy_of(("type=exec.cachemount",), "", "20g", everything=False)
    assert (mounts.only, mounts.unused_for, mounts.free) == ("exec.cachemount", 0, 20 << 30)
    with pytest.raises(UsageError, match="type=frontend"):
        prune.policy_of(("type=frontend",), "", everything=False)
    with pytest.raises(UsageError, match="color"):
        prune.policy_of(("color=red",), "", everything=False)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("ghcr.io", "ghcr.io"),
        ("ghcr.io/owner", "ghcr.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_hosts_to_log_in_to(text, host):
    assert host_of(text) == host


def test_images_are_chosen_by_repository_or_name():
    assert matches("a/b:1", "")
    assert matches("a/b:1", "a/b")
    assert matches("a/b:1", "a/b:1")
    assert not matches("a/b:1", "a")


def test_tables_line_up():
    assert table([["A", "BB"], ["long", "x"]]) == "A      BB\nlong   x\n"


@pytest.mark.parametrize(
    ("verb", "near"), [("bulid", "build"), ("pusj", "push"), ("image", "images"), ("qqqq", "")]
)
def test_the_nearest_verb(verb, near):
    assert (f"{near!r}?" in unknown(verb)) if near else ("mean" not in unknown(verb))


def test_every_verb_loads_and_has_help(capsys):
    for verb in [*VERBS, *ALIASES]:
        assert guarded([verb, "--help"]) == 0
        assert "Usage: lazybuild" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["bulid"], "Did you mean 'build'?"),
        (["build", "--tagg", "x"], "--tag"),
        (["buildx", "build", "--nonsense"], "No such option"),
        (["bud", "--progress", "fancy"], "Invalid value"),
        (["run"], "Missing argument"),
        (["build", "--jobs", "many"], "--jobs"),
    ],
)
def test_a_wrong_command_line_ends_with_2(argv, said, capsys):
    assert guarded(argv) == 2
    assert said in capsys.readouterr().err


def test_a_secret_flag_that_is_misspelt_is_never_swallowed(capsys):
    assert guarded(["build", "--secrets", "id=x", "."]) == 2
    assert "--secret" in capsys.readouterr().err


def test_the_version(capsys):
    assert guarded(["version"]) == 0
    assert capsys.readouterr().out.startswith("lazybuild ")


def test_a_bug_is_shown_whole(monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("deep inside")

    monkeypatch.setattr(click.Command, "main", broken)
    assert guarded(["version"]) == 100
    said = capsys.readouterr().err
    assert "deep inside" in said
    assert "bug" in said


def test_a_file_that_the_system_refuses_is_no_bug(capsys):
    assert guarded(["images", "--root", "/proc/nowhere"]) == 1
    assert capsys.readouterr().err == "ERROR: /proc/nowhere: No such file or directory\n"
