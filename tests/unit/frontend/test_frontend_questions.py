"""Subrequests: questions that are answered instead of a build, and those that can't be."""

import json

import pytest
from support.bridge import Bridge, pinged

from frontend.build import serve
from frontend.options import read
from lazybuild.wire.calls import open_channel

TEXT = """# what it is
ARG V=1
# dev is for people
FROM scratch AS dev
ARG V
FROM scratch AS graph
ARG V
COPY seven$V /
FROM scratch AS Out
CMD echo
"""


def ask(name, *options):
    environment = {"BUILDKIT_FRONTEND_OPT_0": f"requestid={name}"}
    environment |= {f"BUILDKIT_FRONTEND_OPT_{n}": text for n, text in enumerate(options, 1)}
    own = {"dockerfile": {"Dockerfile": TEXT.encode()}}
    with Bridge(own) as bridge, open_channel(bridge.target) as channel:
        serve(pinged(channel), read(environment))
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
    assert [each["name"] for each in found] == ["dev", "graph", "out"]


def test_outline_of_a_target():
    result = ask("frontend.outline", "target=dev", "build-arg:V=7").result
    found = json.loads(result.metadata["result.json"])
    assert (found["name"], found["args"][0]["value"]) == ("dev", "7")


def test_lint_says_how_it_ended():
    result = ask("frontend.lint").result
    assert result.metadata["result.statuscode"] == b"1"
    names = {each["ruleName"] for each in json.loads(result.metadata["result.json"])["warnings"]}
    assert "JSONArgsRecommended" in names


def test_the_graph():
    """Ops under their digests, with the places they are from; the last op leads to the result."""
    bridge = ask("frontend.convertllb", "target=graph", "build-arg:V=7")
    result = bridge.result
    assert set(result.metadata) == {"result.json", "version"}
    assert result.metadata["version"] == b"0.1.0"
    assert result.WhichOneof("result") is None
    found = json.loads(result.metadata["result.json"])
    (copy,) = (name for name, op in found["def"].items() if "file" in op)
    (source,) = (name for name, op in found["def"].items() if "source" in op)
    (last,) = (op for op in found["def"].values() if set(op) == {"inputs"})
    assert last["inputs"] == [{"digest": copy}]
    assert found["def"][copy]["inputs"][0]["digest"] == source
    attrs = found["def"][source]["source"]["attrs"]
    assert json.loads(attrs["local.followpaths"]) == ["seven7"]
    told = found["metadata"][copy]
    assert told["description"]["llb.customname"].endswith("COPY seven7 /")
    assert told["caps"]["file.base"] is True
    assert found["source"]["locations"][copy]["locations"][0]["ranges"][0]["start"]["line"] == 8
    assert found["source"]["infos"][0]["filename"] == "Dockerfile"


def test_an_empty_graph():
    found = json.loads(ask("frontend.convertllb").result.metadata["result.json"])
    assert found == {"def": {}, "metadata": {}, "source": {}}


def test_describe_names_every_question():
    result = ask("frontend.subrequests.describe").result
    found = {each["Name"] for each in json.loads(result.metadata["result.json"])}
    assert found == {
        "frontend.outline",
        "frontend.targets",
        "frontend.lint",
        "frontend.convertllb",
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
