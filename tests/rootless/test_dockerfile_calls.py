"""`check`, `--check` and `--call` through the command line."""

import json

import pytest

pytestmark = pytest.mark.rootless

TEXT = """\
# the version
ARG VERSION=1
FROM scratch AS Base
ARG VERSION
COPY a /a
FROM base AS final
CMD sh -c true
"""


@pytest.fixture
def context(builder):
    return builder.context({"Dockerfile": TEXT, "a": "a"})


@pytest.mark.parametrize("words", [("check",), ("build", "--check"), ("build", "--call=check")])
def test_findings_are_printed_and_end_with_one(builder, context, words):
    run = builder.run(*words, context, expect=1)
    assert "2 warnings have been found" in run.out
    assert "StageNameCasing" in run.out
    assert "Dockerfile:3" in run.out
    assert "JSONArgsRecommended" in run.out


def test_a_clean_file_ends_with_zero(builder):
    run = builder.run("check", builder.context({"Dockerfile": "FROM scratch\nCOPY a /\n"}))
    assert "no warnings" in run.out


def test_findings_as_json(builder, context):
    found = json.loads(builder.run("build", "--call=check,format=json", context, expect=1).out)
    assert {item["ruleName"] for item in found["warnings"]} == {
        "StageNameCasing",
        "JSONArgsRecommended",
    }


def test_what_would_not_build_is_told_with_its_place(builder):
    run = builder.run("check", builder.context({"Dockerfile": "FROM scratch\nCOPY a\n"}), expect=1)
    assert "Dockerfile:2" in run.out + run.err


def test_targets_and_outline(builder, context):
    assert "final (default)" in builder.run("build", "--call=targets", context).out
    assert "VERSION" in builder.run("build", "--call=outline", "--target=base", context).out
    listed = json.loads(builder.run("build", "--call=targets", "--format=json", context).out)
    assert [item["name"] for item in listed["targets"]] == ["base", "final"]


def test_an_unknown_method_is_refused(builder, context):
    assert "not a method" in builder.run("build", "--call=paint", context, expect=2).err
