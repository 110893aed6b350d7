"""Every flag that scripts for other builders give: it works, is ignored with a word, or is refused.

The lists are those of `docker buildx build --help`, buildah-build(1) and podman-build(1).
"""

import re
import shlex

import click
import pytest

from lazybuild.cli import build, dialect
from lazybuild.cli.main import guarded
from lazybuild.errors import UsageError

WORK = shlex.split("""
    -t=n:1 --tag=n:1 -f=F --file=F --target=dev --build-arg=A=1 --build-context=n=. --no-cache
    --no-cache-filter=dev --pull --pull=always --pull=missing --pull=never --pull=newer
    --pull=true --platform=linux/amd64 --label=a=b --annotation=a=b --secret=id=s,env=HOME
    --network=default --network=host --network=none --add-host=h:1.2.3.4 -o=out
    --output=type=image --output=type=registry --output=type=oci,dest=x
    --output=type=docker,dest=x --output=type=local,dest=x --output=type=tar,dest=x --push
    --load --iidfile=x --metadata-file=x --cache-from=type=registry,ref=r/c
    --cache-from=type=local,src=c --cache-to=type=inline
    --cache-to=type=registry,ref=r/c,mode=max --cache-to=type=local,dest=c --progress=auto
    --progress=plain --progress=tty --progress=quiet --progress=rawjson --progress=none -q
    --quiet --shm-size=64m --ulimit=nofile=1:2 --check --call=check --call=outline
    --call=targets -D --debug --authfile=x --creds=a:b --cert-dir=x --tls-verify=false --retry=2
    --retry-delay=2s --jobs=3 --isolation=rootless --isolation=oci --isolation=chroot
    --isolation=T3 --root=x --source-date-epoch=1 --rewrite-timestamp --logfile=x --ignorefile=x
    --allow=network.host --provenance=false --provenance=mode=max --sbom=true --sbom=false
    --attest=type=sbom
""")

IGNORED = shlex.split("""
    --rm --rm=true --force-rm --compress --cgroup-parent=x --cpu-shares=1 -c=1 --cpu-period=1
    --cpu-quota=1 --cpuset-cpus=0 --cpuset-mems=0 --memory=1g -m=1g --memory-swap=1g
    --resource=x --isolation=process --isolation=hyperv --runroot=x
""")

REFUSED = ["--squash", "--policy=x", "--security-opt=x", "--device=x"]
OFF = ["--squash=false", "--provenance=false", "--sbom=false"]

UNKNOWN = {
    "--secrets": "--secret",
    "--buildarg": "--build-arg",
    "--cachefrom": "--cache-from",
    "--tags": "--tag",
    "--outputs": "--output",
    "--meta-data-file": "--metadata-file",
    "--no-cach": "--no-cache",
}


def words(flag):
    """`-t=x` is `-t x`: a short flag takes its value from the next word."""
    name, equals, value = flag.partition("=")
    return [name, value] if equals and not name.startswith("--") else [flag]


def settled(flag):
    said = []
    values = dict(build.command.make_context("build", [*words(flag), "."]).params)
    dialect.settle(values, said.append)
    assert values["context"] == "."
    return values, said


@pytest.mark.parametrize("flag", WORK)
def test_it_is_taken_without_a_word_and_becomes_a_request(flag):
    values, said = settled(flag)
    assert said == []
    for name in ("quiet", "progress", "iidfile", "metadata_file", "timeout", "debug", "logfile"):
        values.pop(name)
    values.pop("on_failure")
    build.asked_method(values)
    assert build.request_of(values.pop("context"), values).context == "."


@pytest.mark.parametrize("flag", IGNORED)
def test_it_is_ignored_with_one_warning_that_names_it(flag):
    values, said = settled(flag)
    assert len(said) == 1
    assert "without effect" in said[0]
    assert values["isolation"] == ""


@pytest.mark.parametrize("flag", REFUSED)
def test_it_is_refused_by_name(flag):
    with pytest.raises(UsageError, match=flag.partition("=")[0]):
        settled(flag)


@pytest.mark.parametrize("flag", OFF)
def test_switched_off_it_is_nothing(flag):
    assert settled(flag)[1] == []


@pytest.mark.parametrize(("flag", "near"), UNKNOWN.items())
def test_an_unknown_flag_is_an_error_with_the_nearest_name(flag, near, capsys):
    assert guarded(["build", flag, "."]) == 2
    said = capsys.readouterr().err
    assert re.search(f"No such option:? '?{flag}", said)
    assert f"{near}'" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--network", "bridge"), "--network bridge"),
        (("--network", "private"), "--network private"),
        (("--isolation", "vm"), "--isolation vm"),
        (("--cache-to", "type=gha"), "gha"),
        (("--cache-from", "type=s3,bucket=x"), "s3"),
        (("-o", "type=floppy"), "type must be one of"),
        (("--allow", "security.insecure"), "security.insecure"),
        (("--allow", "device"), "--allow device"),
        (("--platform", "a/b/c/d/e"), "a/b/c/d/e"),
        (("--shm-size", "much"), "--shm-size"),
        (("--ulimit", "nonsense"), "nonsense"),
        (("--add-host", "h"), "h"),
        (("--secret", "src=x"), "id="),
    ],
)
def test_a_value_that_can_not_be_had_is_an_error_of_the_command_line(flags, said, capsys, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    root = ("--root", str(tmp_path / "store"))
    assert guarded(["build", *flags, *root, str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_what_is_refused_or_ignored_is_not_offered():
    shown = build.command.get_help(click.Context(build.command))
    for flag in (*dialect.IGNORED_FLAGS, *dialect.IGNORED_VALUES, *dialect.REFUSED_FLAGS):
        assert f" {flag} " not in shown
