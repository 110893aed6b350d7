"""Compose and bake files: what they ask for, in which order, and what is refused."""

import json
from pathlib import Path

import pytest

from lazybuild.cli import bake, bake_compose, bake_json
from lazybuild.cli.bake_targets import Plan, chosen, links, merged, ordered, resolved, words
from lazybuild.errors import UsageError

HERE = Path("/p/compose.yaml")


def compose(text, **environment):
    return bake_compose.read(text, HERE, environment)


def test_services_with_a_build_are_targets():
    plan = compose(
        """
services:
  app:
    image: org/app:${TAG:-1}
    build:
      context: src
      dockerfile: D
      target: ${STAGE-dev}
      args: [A=1, B]
      labels: {x: y}
      tags: ["org/app:also"]
      cache_from: [org/cache, {type: local, src: x}]
      additional_contexts: {base: "service:lib", data: ./data, web: "https://x/y.git"}
      extra_hosts: ["a=1.2.3.4"]
      ulimits: {nofile: {soft: 1, hard: 2}, nproc: 5}
      secrets: [key, {source: other, target: o}]
      network: none
      x-bake: {platforms: [linux/arm64]}
  lib: {build: "https://example.com/lib.git"}
  db: {image: postgres}
secrets: {key: {file: ./k}, other: {environment: OTHER}}
""",
        STAGE="",
    )
    assert list(plan.targets) == ["app", "lib"]
    assert plan.groups == {"default": ("app", "lib")}
    fields = plan.targets["app"]
    assert (fields["context"], fields["target"]) == ("/p/src", "")
    assert links(fields) == {"base": "lib"}
    assert words("app", fields) == [
        "--file=D", "--network=none", "--tag=org/app:1", "--tag=org/app:also",
        "--platform=linux/arm64", "--cache-from=org/cache", "--cache-from=type=local,src=x",
        "--secret=id=key,src=/p/k", "--secret=id=o,env=OTHER",
        "--ulimit=nofile=1:2", "--ulimit=nproc=5:5", "--build-arg=A=1", "--build-arg=B",
        "--label=x=y", "--build-context=data=/p/data", "--build-context=web=https://x/y.git",
        "--add-host=a=1.2.3.4",
    ]  # fmt: skip
    assert not any("base=" in word for word in words("app", fields))
    assert plan.targets["lib"]["context"] == "https://example.com/lib.git"
    assert ordered({"app": fields}, plan) == ["lib", "app"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "1"),
        ("${A}", "1"),
        ("$$A", "$A"),
        ("${NONE:-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${A:+y}", "y"),
        ("${NONE+y}", ""),
        ("${NONE}", ""),
        ("100$", "100$"),
    ],
)
def test_variables_are_those_of_compose(text, expected):
    assert bake_compose.interpolated(text, {"A": "1", "EMPTY": ""}, "x") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: 3", "no services"),
        ("- a", "no services"),
        ("{", "compose.yaml"),
        ("services: {a: {build: {context: ., privileged: true}}}", "privileged"),
        ("services: {a: {build: {context: '${X:?say it}'}}}", "say it"),
        ("services: {a: {build: {secrets: [none]}}}", "defined nowhere"),
        ("services: {'../x': {build: .}}", "not a name"),
        ("services: {a: {build: {ulimits: 3}}}", "expected a mapping"),
        ("!!python/object/apply:os.system ['true']", "compose.yaml"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{two}: &{two} [{','.join([f'*{one}'] * 10)}]\n"
                for one, two in zip("abcdefg", "bcdefgh", strict=True)
            )
            + "services: {s: {build: .}}\n",
            "values",
        ),
    ],
)
def test_what_a_compose_file_can_not_say(text, message):
    with pytest.raises(UsageError, match=message):
        compose(text)


BAKE = {
    "variable": {"TAG": {"default": "v1"}, "N": {}},
    "group": {"default": {"targets": ["all"]}, "all": {"targets": ["a", "b", "a"]}},
    "target": {
        "common": {"args": {"X": "1", "Y": "2"}, "labels": {"l": "m"}},
        "a": {"inherits": ["common"], "tags": ["a:${TAG}"], "args": {"Y": "3"}},
        "b": {"context": "b", "contexts": {"dep": "target:c"}, "no-cache": True},
        "c": {"output": ["type=local,dest=x"]},
    },
}


def test_json_has_groups_variables_and_inheritance():
    plan = bake_json.read(json.dumps(BAKE), "x", {"TAG": "v2"})
    assert chosen(plan, []) == ["a", "b"]
    assert chosen(plan, ["c", "all"]) == ["c", "a", "b"]
    a = resolved(plan, "a")
    assert a == {"args": {"X": "1", "Y": "3"}, "labels": {"l": "m"}, "tags": ["a:v2"]}
    assert words("a", a) == ["--tag=a:v2", "--build-arg=X=1", "--build-arg=Y=3", "--label=l=m"]
    assert ordered({name: resolved(plan, name) for name in ("b", "a")}, plan) == ["c", "b", "a"]
    assert words("b", resolved(plan, "b")) == ["--no-cache"]


def test_what_is_printed_can_be_read_again():
    plan = bake_json.read(json.dumps(BAKE), "x", {})
    wanted = {name: resolved(plan, name) for name in chosen(plan, ["a", "c"])}
    again = bake_json.read(json.dumps(bake.printed(wanted)), "x", {})
    assert chosen(again, []) == ["a", "c"]
    assert again.targets == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": {"a": {"inherits": ["a"]}}}, "inherits from itself"),
        ({"group": {"default": {"targets": ["default"]}}}, "holds itself"),
        ({"target": {"a": {"contexts": {"x": "target:a"}}}}, "needs itself"),
        ({"target": {"a": {"tags": ["${upper(TAG)}"]}}}, "only names of variables"),
        ({"target": {"a": {"tags": ["${NO}"]}}}, "no variable NO"),
        ({"target": {"a": {"matrix": {}}}}, "matrix is not supported"),
        ({"target": []}, "expected a mapping"),
        ({"function": {}}, "function is not supported"),
        ({"target": {"b": {}}}, "no target 'a'"),
    ],
)
def test_what_a_bake_file_can_not_say(change, message):
    document = {"target": {"a": {}}, "group": {"default": {"targets": ["a"]}}} | change
    with pytest.raises(UsageError, match=message):
        all_words(json.dumps(document))


def all_words(text):
    plan = bake_json.read(text, "x", {"TAG": "x"})
    wanted = {name: resolved(plan, name) for name in chosen(plan, [])}
    return [words(name, resolved(plan, name)) for name in ordered(wanted, plan)]


def test_later_files_and_settings_win():
    plan = merged(
        [
            Plan(targets={"a": {"args": {"X": "1"}, "tags": ["one"]}}),
            Plan(targets={"a": {"args": {"Y": "2"}, "tags": ["two"]}}),
        ]
    )
    assert plan.targets["a"] == {"args": {"X": "1", "Y": "2"}, "tags": ["two"]}
    settings = ("a.tags=x", "a.tags=y", "*.args.X=9", "b.tags=z")
    assert bake.overridden("a", plan.targets["a"], settings) == {
        "args": {"X": "9", "Y": "2"},
        "tags": ["x", "y"],
    }
    with pytest.raises(UsageError, match="--set"):
        bake.overridden("a", {}, ("a",))


def test_a_file_in_hcl_says_how_to_go_on(tmp_path):
    with pytest.raises(UsageError, match="HCL") as caught:
        bake.read(tmp_path / "docker-bake.hcl")
    assert "--print" in caught.value.hint


def test_files_are_found_and_dotenv_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no compose or bake file"):
        bake.found_files()
    for name in ("docker-compose.yml", "compose.yaml", "docker-bake.json"):
        (tmp_path / name).write_text("x")
    assert bake.found_files() == ["compose.yaml", "docker-bake.json"]
    (tmp_path / ".env").write_text("# no\nA=1\nB='two'\n\nbad\n")
    assert bake.dotenv(tmp_path / ".env") == {"A": "1", "B": "two"}
