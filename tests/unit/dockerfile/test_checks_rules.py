"""One rule at a time: what fires it, where, with which words, and what doesn't."""

import pytest
from support.dockerfiles import AMD64, Images, image

from lazybuild.dockerfile.checks import check, choice_of, findings, violation
from lazybuild.dockerfile.compile import compile as compile_document
from lazybuild.dockerfile.options import CompileOptions
from lazybuild.dockerfile.parse import parse
from lazybuild.dockerfile.rules import RULES, Choice, parse_choice
from lazybuild.errors import DockerfileError

EXPERIMENTAL = "# check=experimental=all\n"


def report(text, images=None, **options):
    given = CompileOptions(build_platform=AMD64, **options)
    return check(parse(text), given, images or Images())


def said(text, **options):
    """Rule, line and message of everything that was found."""
    result = report(text, **options)
    assert result.error is None
    return [(each.rule, each.span.line, each.message) for each in result.findings]


def rules(text, **options):
    return [rule for rule, _, _ in said(text, **options)]


FIRING = [
    (
        "FROM debian AS Build\n",
        "StageNameCasing",
        1,
        "Stage name 'Build' should be lowercase",
    ),
    ("FROM debian as b\n", "FromAsCasing", 1, "'as' and 'FROM' keywords' casing do not match"),
    ("FROM debian\nRUN a \\\n\n  b\n", "NoEmptyContinuation", 4, "Empty continuation line"),
    (
        "FROM debian\nrun a\nRUN b\n",
        "ConsistentInstructionCasing",
        2,
        "Command 'run' should match the case of the command majority (uppercase)",
    ),
    (
        "from debian\nRun a\n",
        "ConsistentInstructionCasing",
        2,
        "Command 'Run' should match the case of the command majority (lowercase)",
    ),
    (
        "FROM debian AS a\nFROM debian AS a\n",
        "DuplicateStageName",
        2,
        'Duplicate stage name "a", stage names should be unique',
    ),
    (
        "FROM debian AS context\n",
        "ReservedStageName",
        1,
        'Stage name should not use the same name as reserved stage "context"',
    ),
    (
        "FROM debian\nCMD run me\n",
        "JSONArgsRecommended",
        2,
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
    ),
    (
        "FROM debian\nMAINTAINER me\n",
        "MaintainerDeprecated",
        2,
        "Maintainer instruction is deprecated in favor of using label",
    ),
    (
        "ARG TAG=x\nFROM debian${TAGS}\n",
        "UndefinedArgInFrom",
        2,
        "FROM argument 'TAGS' is not declared (did you mean TAG?)",
    ),
    (
        "FROM debian\nWORKDIR a/b\n",
        "WorkdirRelativePath",
        2,
        'Relative workdir "a/b" can have unexpected results if the base image changes',
    ),
    (
        "FROM debian\nENV DIRECTORY=/x\nWORKDIR /$DIRECTORI\n",
        "UndefinedVar",
        3,
        "Usage of undefined variable '$DIRECTORI' (did you mean $DIRECTORY?)",
    ),
    (
        'FROM debian\nCMD ["a"]\nCMD ["b"]\n',
        "MultipleInstructionsDisallowed",
        2,
        (
            "Multiple CMD instructions should not be used in the same stage because only the last"
            " one will be used"
        ),
    ),
    (
        "FROM debian\nENV a b\n",
        "LegacyKeyValueFormat",
        2,
        '"ENV key=value" should be used instead of legacy "ENV key value" format',
    ),
    (
        "FROM arm\n",
        "InvalidBaseImagePlatform",
        1,
        (
            'Base image arm was pulled with platform "linux/arm64", expected "linux/amd64" for'
            " current build"
        ),
    ),
    (
        "FROM --platform=$TARGETPLATFORM debian\n",
        "RedundantTargetPlatform",
        1,
        (
            "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the"
            " default behavior"
        ),
    ),
    (
        "FROM debian\nARG GITHUB_TOKEN\n",
        "SecretsUsedInArgOrEnv",
        2,
        'Do not use ARG or ENV instructions for sensitive data (ARG "GITHUB_TOKEN")',
    ),
    (
        "FROM --platform=linux/amd64 debian AS build\n",
        "FromPlatformFlagConstDisallowed",
        1,
        'FROM --platform flag should not use constant value "linux/amd64"',
    ),
    (
        EXPERIMENTAL + "# about it\nFROM debian AS base\n",
        "InvalidDefinitionDescription",
        3,
        "Comment for FROM should follow the format: `# base <description>`",
    ),
    (
        EXPERIMENTAL + "# about them\nARG a b\nFROM debian\n",
        "InvalidDefinitionDescription",
        3,
        "Comment for ARG should follow the format: `# <arg_key> <description>`",
    ),
    (
        "FROM debian\nEXPOSE 53/UDP\n",
        "ExposeProtoCasing",
        2,
        "Defined protocol '53/UDP' in EXPOSE instruction should be lowercase",
    ),
    (
        "FROM debian\nEXPOSE 127.0.0.1:80:80\n",
        "ExposeInvalidFormat",
        2,
        (
            "EXPOSE instruction should not define an IP address or host-port mapping, found"
            " '127.0.0.1:80:80'"
        ),
    ),
]


@pytest.mark.parametrize(("text", "rule", "line", "message"), FIRING)
def test_a_rule_fires(text, rule, line, message):
    platform = AMD64 if rule == "InvalidBaseImagePlatform" else None
    images = Images(arm=image(architecture="arm64"))
    assert said(text, images=images, platform=platform) == [(rule, line, message)]


def test_invalid_default_of_a_global_argument():
    """The build argument makes it build; without it nothing is left of the name."""
    assert said("ARG BASE\nFROM $BASE\n", build_args={"BASE": "debian"}) == [
        (
            "InvalidDefaultArgInFrom",
            2,
            "Default value for ARG $BASE results in empty or invalid base image name",
        )
    ]
    assert rules("ARG BASE=debian\nFROM $BASE\n") == []


def test_a_copied_file_that_is_ignored():
    text = "FROM debian\nCOPY a.txt /\nADD ./dir/b /\nCOPY c /\nADD https://x.test/a.txt /\n"
    assert said(text, ignored=("*.txt", "dir")) == [
        ("CopyIgnoredFile", 2, 'Attempting to Copy file "a.txt" that is excluded by .dockerignore'),
        ("CopyIgnoredFile", 3, 'Attempting to Add file "dir/b" that is excluded by .dockerignore'),
    ]
    assert rules(text, ignored=("*.txt", "dir", "!other")) == []
    assert rules("FROM debian\nCOPY . /\n", ignored=("*.txt",)) == []
    assert rules("FROM debian\nCOPY . /\n", ignored=("*",)) == ["CopyIgnoredFile"]
    assert rules("FROM debian AS a\nFROM debian\nCOPY --from=a x /\n", ignored=("x",)) == []


def test_every_rule_has_a_test():
    tested = {rule for _, rule, _, _ in FIRING} | {"InvalidDefaultArgInFrom", "CopyIgnoredFile"}
    assert tested == set(RULES)
    assert len(RULES) == 22


QUIET = [
    "FROM debian AS build\nRUN true\n",
    "from debian as build\nrun true\n",
    'FROM debian\nSHELL ["/bin/bash", "-c"]\nCMD run me\n',
    'FROM debian AS a\nSHELL ["/bin/bash", "-c"]\nFROM a\nENTRYPOINT run me\n',
    "FROM debian\nWORKDIR /a\nWORKDIR b\n",
    "FROM debian AS a\nWORKDIR /a\nFROM a\nWORKDIR b\n",
    "FROM debian\nARG AT=/srv\nWORKDIR $AT/x\n",
    "FROM debian\nWORKDIR ${PATH}\n",
    'FROM debian AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n',
    "FROM --platform=linux/amd64 debian AS build-amd64\n",
    "FROM --platform=$BUILDPLATFORM debian\n",
    "ARG TAG\nFROM debian${TAG}\n",
    "FROM debian\nARG PUBLIC_KEY\nENV KEY_FILE=/x keyboard=y\n",
    "ARG DB_PASSWORD\nFROM debian\n",
    "# about it\nFROM debian AS base\n",
    EXPERIMENTAL + "# base about it\nFROM debian AS base\n",
    EXPERIMENTAL + "# about it\nFROM debian\n",
    EXPERIMENTAL + "# about it\n#\nFROM debian AS base\n",
    "FROM debian\nARG P=8080/tcp\nEXPOSE $P 80-90/udp\n",
    "FROM debian\nARG X\nRUN echo $Y\nWORKDIR /$X\n",
]


@pytest.mark.parametrize("text", QUIET)
def test_no_rule_fires(text):
    assert said(text) == []


def test_skipping():
    bad = "FROM debian AS A\nCMD a\n"
    assert rules(bad) == ["StageNameCasing", "JSONArgsRecommended"]
    assert rules("# check=skip=StageNameCasing\n" + bad) == ["JSONArgsRecommended"]
    assert rules("# check=skip=StageNameCasing, JSONArgsRecommended\n" + bad) == []
    assert rules("# check=skip=all\n" + bad) == []
    assert rules("# check=error=true;skip=all\n" + bad) == []
    argument = {"BUILDKIT_DOCKERFILE_CHECK": "skip=JSONArgsRecommended"}
    assert rules("# check=skip=all\n" + bad, build_args=argument) == ["StageNameCasing"]


def test_skipping_for_one_instruction():
    text = "FROM debian\n# check=skip=JSONArgsRecommended\nCMD a\nENTRYPOINT b\n"
    assert said(text)[0][1] == 4
    assert len(said(text)) == 1
    assert rules("FROM debian\n\n# check=skip=UndefinedVar because\nWORKDIR /$X\n") == []


def test_experimental_rules_are_not_skipped_by_skip():
    text = "# about\nFROM debian AS base\n"
    assert rules("# check=experimental=InvalidDefinitionDescription;skip=all\n" + text) == [
        "InvalidDefinitionDescription"
    ]


def test_error_names_the_rules():
    result = report("# check=error=true\nFROM debian AS A\nCMD a\nENTRYPOINT b\n")
    error = violation(result.findings, result.choice)
    assert error.message == ("lint violation found for rules: StageNameCasing, JSONArgsRecommended")
    assert violation(result.findings, Choice()) is None
    assert violation((), Choice(error=True)) is None


@pytest.mark.parametrize("text", ["skip", "no=1", "error=perhaps", "skip=a;error", "a;b;c;d"])
def test_bad_options_are_located(text):
    with pytest.raises(DockerfileError):
        parse_choice(text)
    with pytest.raises(DockerfileError, match="failed to parse check options") as caught:
        choice_of(parse(f"#syntax=a\n#check={text}\nFROM a"), {})
    assert caught.value.span.line == 2


def test_all_stages_or_those_of_the_target():
    text = "FROM debian\nCMD a\nFROM debian AS b\nCMD b\nFROM debian AS c\nCMD c\n"
    assert [line for _, line, _ in said(text)] == [2, 4, 6]
    assert [line for _, line, _ in said(text, target="b")] == [4]


def test_unset_names_in_stages_without_a_name_or_with_a_hidden_one():
    text = "FROM debian\nWORKDIR /$A\nFROM debian AS x\nWORKDIR /$B\nFROM debian AS x\n"
    undefined = [line for rule, line, _ in said(text) if rule == "UndefinedVar"]
    assert undefined == [2, 4]


def test_what_does_not_compile_is_reported_beside_the_findings():
    result = report("FROM nowhere AS A\n")
    assert [each.rule for each in result.findings] == ["StageNameCasing"]
    assert "nowhere" in result.error.message


def test_a_build_looks_at_the_stages_it_needs():
    text = "FROM debian AS a\nCMD a\nFROM debian AS B\nCMD b\n"
    document, options = parse(text), CompileOptions(build_platform=AMD64, target="b")
    result = compile_document(document, options, Images())
    found = findings(document, options, result)
    assert [(each.rule, each.span.line) for each in found] == [
        ("StageNameCasing", 3),
        ("JSONArgsRecommended", 4),
    ]


def test_addresses():
    assert RULES["JSONArgsRecommended"].url == (
        "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
    )
    assert RULES["FromAsCasing"].url.endswith("/from-as-casing/")
    assert RULES["InvalidBaseImagePlatform"].url == ""
