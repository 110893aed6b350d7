"""Command lines that other tools give to `docker`, word by word, and how they end."""

import json
import tarfile

import pytest

pytestmark = pytest.mark.rootless

CONTENT = "dev_containers_feature_content"
FEATURES = f"""\
# syntax=docker/dockerfile:1.4
ARG _DEV_CONTAINERS_BASE_IMAGE=placeholder

FROM $_DEV_CONTAINERS_BASE_IMAGE AS {CONTENT}_normalize
USER root
COPY --from={CONTENT}_source devcontainer-features.builtin.env /tmp/build-features/
RUN chmod -R 0755 /tmp/build-features/

FROM $_DEV_CONTAINERS_BASE_IMAGE AS dev_containers_target_stage
USER root
RUN mkdir -p /tmp/dev-container-features
COPY --from={CONTENT}_normalize /tmp/build-features/ /tmp/dev-container-features
RUN cd /tmp/dev-container-features && \\
 echo "_CONTAINER_USER_HOME=$HOME" >> devcontainer-features.builtin.env
RUN --mount=type=bind,from={CONTENT}_source,source=tool,target=/tmp/build-features-src/tool \\
    cp -ar /tmp/build-features-src/tool /tmp/dev-container-features \\
 && chmod -R 0755 /tmp/dev-container-features/tool \\
 && cd /tmp/dev-container-features/tool \\
 && ./install.sh \\
 && rm -rf /tmp/dev-container-features/tool
ARG _DEV_CONTAINERS_IMAGE_USER=root
USER $_DEV_CONTAINERS_IMAGE_USER
"""


@pytest.fixture
def docker(builder, tmp_path):
    """A `docker` whose `load` keeps what it is given."""
    place, loaded = tmp_path / "bin", tmp_path / "loaded.tar"
    place.mkdir()
    (place / "docker").write_text(f'#!/bin/sh\n[ "$*" = load ] && exec cat > {loaded}\nexit 9\n')
    (place / "docker").chmod(0o755)
    builder.environment["PATH"] = f"{place}:{builder.environment['PATH']}"
    return loaded


def test_devcontainers(builder, base, docker):
    """As the Dev Container CLI calls `docker buildx build` for a base with one feature."""
    features = builder.context(
        {
            "devcontainer-features.builtin.env": "_REMOTE_USER=root\n",
            "tool/install.sh": ("#!/bin/sh\necho installed > /usr/tool\n", 0o755),
        }
    )
    recipe = builder.context({"Dockerfile-with-features": FEATURES})
    empty = builder.context({})
    run = builder.run(
        "buildx", "build", "--load",
        "--build-arg", "BUILDKIT_INLINE_CACHE=1",
        "-f", recipe / "Dockerfile-with-features",
        "-t", "vsc-project-0123456789abcdef-features",
        "--target", "dev_containers_target_stage",
        "--build-context", f"dev_containers_feature_content_source={features}",
        "--build-arg", f"_DEV_CONTAINERS_BASE_IMAGE={base}",
        "--build-arg", "_DEV_CONTAINERS_IMAGE_USER=root",
        "--build-arg", "_DEV_CONTAINERS_FEATURE_CONTENT_SOURCE=dev_container_feature_content_temp",
        empty,
    )  # fmt: skip
    assert "WARNING" not in run.err, run.err
    with tarfile.open(docker) as tar:
        (image,) = json.load(tar.extractfile("manifest.json"))
    assert image["RepoTags"] == ["vsc-project-0123456789abcdef-features:latest"]
    assert builder.run("run", image["RepoTags"][0], "cat", "/usr/tool").out == "installed\n"
    assert builder.run("buildx", "version").out.startswith("lazybuild ")


@pytest.mark.parametrize(
    "verb", [("build",), ("b",), ("bud",), ("buildx", "build"), ("image", "build")]
)
def test_each_verb_builds_and_prints_the_id_only(builder, verb):
    context = builder.context({"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "text"})
    iid, metadata = builder.folder / "iid", builder.folder / "metadata"
    files = ("--iidfile", iid, "--metadata-file", metadata)
    run = builder.run(*verb, "-q", "-t", "x", *files, context)
    assert run.out == iid.read_text() + "\n"
    assert iid.read_text() == json.loads(metadata.read_text())["containerimage.config.digest"]
    assert run.err == ""
    assert builder.run("inspect", run.out.strip()).out


# --- exit codes ----------------------------------------------------------------------------------


def test_a_failed_step_is_told_to_people_and_to_programs(builder, base):
    text = f"FROM {base}\nRUN echo first\nRUN echo last words; exit 7\n"
    run = builder.build({"Dockerfile": text}, "-t", "x", expect=1)
    said = run.err
    assert ">>> RUN echo last words; exit 7" in said
    assert "Dockerfile:3" in said
    assert "------\n > [3/3] RUN echo last words; exit 7:\nlast words\n------" in said
    assert "exit code: 7" in said
    assert "--on-failure=shell" in said
    told = run.metadata["lazybuild.failure"]
    assert (told["status"], told["exit_code"]) == (7, 1)
    assert told["step"] == "[3/3] RUN echo last words; exit 7"


@pytest.mark.parametrize(
    ("files", "flags", "code"),
    [
        ({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": ""}, (), 0),
        ({"Dockerfile": "FROM scratch\nCOPY g /\n"}, (), 1),
        ({"Dockerfile": "FORM scratch\n"}, (), 1),
        ({"Dockerfile": "from scratch as A\nCOPY f /\n", "f": ""}, ("--check",), 1),
        ({}, (), 2),
        ({"Dockerfile": "FROM scratch\n"}, ("--nonsense",), 2),
        ({"Dockerfile": "FROM scratch\n"}, ("--isolation", "T9"), 2),
        ({"Dockerfile": "FROM 127.0.0.1:1/none\nCOPY . /\n"}, ("--retry", "0"), 104),
    ],
)
def test_the_exit_code_says_whose_fault_it_is(builder, files, flags, code):
    run = builder.build(files, *flags, expect=code)
    assert "Traceback" not in run.err


def test_debug_shows_where_an_error_comes_from(builder):
    run = builder.build({"Dockerfile": "FROM scratch\nCOPY g /\n"}, "-D", expect=1)
    assert "Traceback" in run.err


# --- flags that other builders have --------------------------------------------------------------


def test_an_ignore_file_by_name(builder):
    files = {"Dockerfile": "FROM scratch\nCOPY . /\n", "a": "", "b": "", ".dockerignore": "b\n"}
    context, out = builder.context(files), builder.folder / "out"
    rules = builder.folder / "rules"
    rules.write_text("a\nDockerfile\n.dockerignore\n")
    builder.build(context, "--ignorefile", rules, "-o", out)
    assert [path.name for path in out.iterdir()] == ["b"]
    run = builder.build(context, "--ignorefile", builder.folder / "none", expect=2)
    assert "none" in run.err


def test_warnings_in_the_metadata_when_asked_for(builder):
    files = {"Dockerfile": "from scratch AS A\nCOPY f /\n", "f": ""}
    assert "buildx.build.warnings" not in builder.build(files).metadata
    builder.environment["BUILDX_METADATA_WARNINGS"] = "1"
    found = builder.build(files).metadata["buildx.build.warnings"]
    assert {"short", "url", "level", "range"} <= set(found[0])


def test_the_older_builder_is_not_there(builder):
    builder.environment["DOCKER_BUILDKIT"] = "0"
    run = builder.build({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": ""})
    assert run.err.count("DOCKER_BUILDKIT=0") == 1
    builder.environment["EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"] = "policy.json"
    builder.build({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": ""}, expect=2)
