"""Several builds of one file, in one process."""

import json
import subprocess

import pytest
from support.building import Builder, registry_with_base, settled

pytestmark = pytest.mark.rootless


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with registry_with_base(tmp_path_factory.mktemp("base")) as registry:
        yield registry


@pytest.fixture
def builder(tmp_path):
    builder = Builder(tmp_path)
    yield builder
    assert settled(builder.leftovers) == []
    subprocess.run(["chmod", "-R", "u+rwX", tmp_path], check=False)


def project(builder, registry):
    base = f"FROM {registry.host}/base:1\nRUN echo shared > /shared\n"
    return builder.context(
        {
            "compose.yaml": f"""
services:
  lib:
    build:
      dockerfile_inline: |
        FROM {registry.host}/base:1
        RUN echo lib > /libfile
  app:
    image: {registry.host}/app:1
    build: {{context: app, additional_contexts: {{lib: "service:lib"}}}}
  other:
    image: {registry.host}/other:1
    build: {{context: other, args: {{WORD: one}}}}
""",
            "app/Dockerfile": base
            + "COPY --from=lib /libfile /libfile\nRUN cat /libfile /shared > /app\n",
            "other/Dockerfile": base + "ARG WORD\nRUN echo $WORD > /other\n",
        }
    )


def test_a_compose_file_is_built_in_order_and_shared_steps_once(builder, registry):
    context = project(builder, registry)
    metadata = builder.folder / "m.json"
    flags = ("-f", context / "compose.yaml", "--metadata-file", metadata)
    run = builder.run("bake", *flags, "--push", "app", "other")
    found = json.loads(metadata.read_text())
    assert set(found) == {"app", "lib", "other"}
    shared = [
        step["cached"]
        for name in ("app", "other")
        for step in found[name]["lazybuild.stats"]["steps"]
        if "echo shared" in step["name"]
    ]
    assert shared == [False, True]
    for name in ("app", "other"):
        digest = found[name]["containerimage.digest"]
        assert registry.content.manifest(name, "1")[0] == digest
        assert f"{name}: {registry.host}/{name}:1  {digest}" in run.err
    assert builder.run("run", f"{registry.host}/app:1", "cat", "/app").out == "lib\nshared\n"
    again = builder.run("bake", *flags, "other", "--set", "other.args.WORD=two")
    assert "echo two" in again.err
    assert builder.run("run", f"{registry.host}/other:1", "cat", "/other").out == "two\n"


def test_a_target_that_fails_ends_it_with_its_line(builder, registry):
    context = project(builder, registry)
    (context / "app/Dockerfile").write_text(f"FROM {registry.host}/base:1\nRUN exit 3\n")
    run = builder.run("bake", "-f", context / "compose.yaml", "other", "app", expect=1)
    assert "exit code: 3" in run.err
    assert "Dockerfile:2" in run.err
