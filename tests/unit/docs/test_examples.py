"""The files that the documentation tells people to copy: they parse, and say what they must."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from lazybuild.cli.main import cli

ROOT = Path(__file__).parent.parent.parent.parent
EXAMPLES = sorted((ROOT / "docs/ci").glob("*.y*ml"))
NEEDED = {"unshare", "mount", "umount2", "pivot_root", "setns", "clone", "sethostname", "fsopen"}
NEEDED |= {"fsconfig", "fsmount", "move_mount", "open_tree", "mount_setattr"}
REFUSED = {"bpf", "keyctl", "userfaultfd", "perf_event_open", "init_module", "kexec_load"}


def test_the_examples_are_there():
    assert {path.stem for path in EXAMPLES} == {
        "github",
        "gitlab",
        "gitlab-default",
        "kubernetes-pod",
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_parses_and_asks_the_doctor(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)
    assert "lazybuild doctor" in path.read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_commands_of_an_example_are_ours(path):
    text = path.read_text().replace("\\\n", " ")
    text = re.sub(
        r"lazybuild build\n\s+(--[^\n]+)\n\s+(--[^\n]+)\n\s+(-[^\n]+)",
        r"lazybuild build \1 \2 \3",
        text,
    )
    commands = re.findall(r"(?:^|[\s/])lazybuild ((?:build|login) .*)$", text, re.MULTILINE)
    assert commands
    for command in commands:
        check(shlex.split(command))


def check(words):
    context = click.Context(cli)
    verb = cli.get_command(context, words[0])
    known = {name for option in verb.params for name in (*option.opts, *option.secondary_opts)}
    assert {word for word in words[1:] if word.startswith("-")} <= known, words


def test_the_pod_has_a_user_namespace_of_its_own_and_no_more_than_it_needs():
    pod = yaml.safe_load((ROOT / "docs/ci/kubernetes-pod.yaml").read_text())["spec"]
    (container,) = pod["containers"]
    assert pod["hostUsers"] is False
    assert container["securityContext"]["capabilities"] == {"add": ["SYS_ADMIN"]}
    assert "privileged" not in container["securityContext"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def allowed(profile, caps=frozenset()):
    """The calls that the profile allows whatever their arguments, to a container with `caps`."""
    for rule in profile["syscalls"]:
        needs = set(rule.get("includes", {}).get("caps", ()))
        shuns = set(rule.get("excludes", {}).get("caps", ()))
        applies = needs <= caps and not shuns & caps
        if applies and rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args"):
            yield from rule["names"]


def test_the_seccomp_profile_allows_namespaces_and_little_more():
    profile = json.loads((ROOT / "contrib/seccomp-lazybuild.json").read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    calls = set(allowed(profile))
    assert NEEDED - calls == set()
    assert REFUSED & calls == set()


def test_the_apparmor_profile_lets_namespaces_be_made():
    text = (ROOT / "contrib/apparmor-lazybuild").read_text()
    lines = [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]
    assert lines[0] == "abi <abi/4.0>,"
    assert "userns," in lines
    assert text.count("{\n") == text.count("}\n") == 1


@pytest.mark.parametrize("name", ["rootless.md", "debugging.md"])
def test_links_of_the_documentation_lead_somewhere(name):
    text = (ROOT / "docs" / name).read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
