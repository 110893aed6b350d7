"""Subrequests: questions that are answered instead of a build, and those that can't be."""

import json

import pytest
from support.bridge import Bridge

from frontend.build import serve
from frontend.options import read
from lazybuild.wire.calls import open_channel
from lazybuild.wire.gateway import Gateway

TEXT = """# what it is
ARG V=1
# dev is for people
FROM scratch AS dev
ARG V
FROM scratch AS Out
CMD echo
"""


def ask(name, *options):
    environment = {"BUILDKIT_FRONTEND_OPT_0": f"requestid={name}"}
    environment |= {f"BUILDKIT_FRONTEND_OPT_{n}": text for n, text in enumerate(options, 1)}
    own = {"dockerfile": {"Dockerfile": TEXT.encode()}}
    with Bridge(own) as bridge, open_channel(bridge.target) as channel:
        serve(Gateway(channel), read(environment))
    return bridge


@pytest.mark.parametrize("name", ["frontend.outline", "frontend.targets", "frontend.lint"])
def test_an_answer_has_text_json_and_a_version(name):
    result = ask(name).result
    assert result.WhichOneof("result") is None
    assert json.loads(result.metadata["result.json"])["sources"]
    assert result.metadata["result.txt"]
    assert result.metadata["version"] == b"1.0.0"


def test_targets():
    found = json.loads(ask("frontend.targets").result.metadata["result.json"])["targets"]
    assert [each["name"] for each in found] == ["dev", "out"]


def test_outline_of_a_target():
    result = ask("frontend.outline", "target=dev", "build-arg:V=7").result
    found = json.loads(result.metadata["result.json"])
    assert (found["name"], found["args"][0]["value"]) == ("dev", "7")


def test_lint_says_how_it_ended():
    result = ask("frontend.lint").result
    assert result.metadata["result.statuscode"] == b"1"
    names = {each["ruleName"] for each in json.loads(result.metadata["result.json"])["warnings"]}
    assert "JSONArgsRecommended" in names


def test_describe_names_every_question():
    result = ask("frontend.subrequests.describe").result
    found = {each["Name"] for each in json.loads(result.metadata["result.json"])}
    assert found == {
        "frontend.outline",
        "frontend.targets",
        "frontend.lint",
        "frontend.subrequests.describe",
    }
    assert result.metadata["result.txt"].startswith(b"NAME")


def test_an_unknown_question_is_refused_in_the_clients_terms():
    error = ask("frontend.weather").error
    assert error.code == 12
    (detail,) = error.details
    assert detail.type_url == "github.com/moby/buildkit/errdefs.Subrequest+json"
    assert json.loads(detail.value) == {"name": "frontend.weather"}


def test_capabilities_that_are_wanted_and_not_there_are_named():
    error = ask("", "frontend.caps=moby.buildkit.frontend.inputs,moby.buildkit.frontend.x").error
    assert error.code == 12
    assert json.loads(error.details[0].value) == {"name": "moby.buildkit.frontend.x"}
