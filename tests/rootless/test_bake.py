"""Several builds of one file, in one process."""

import json
import time

import pytest

pytestmark = pytest.mark.rootless


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


def test_a_compose_file_is_built_and_shared_steps_once(builder, registry):
    context = project(builder, registry)
    metadata = builder.folder / "m.json"
    flags = ("-f", context / "compose.yaml", "--metadata-file", metadata)
    run = builder.run("bake", *flags, "--push", "app", "other")
    found = json.loads(metadata.read_text())
    assert set(found) == {"app", "lib", "other"}
    assert run.err.count("RUN echo shared > /shared\n") == 1
    assert "[app 2/3] RUN echo shared > /shared" in run.err
    assert "[lib 2/2] RUN echo lib" in run.err
    assert "[other internal] load build definition" in run.err
    for name in ("app", "other"):
        steps = found[name]["lazybuild.stats"]["steps"]
        assert sum("echo shared" in step["name"] for step in steps) == 1
    for name in ("app", "other"):
        digest = found[name]["containerimage.digest"]
        assert registry.content.manifest(name, "1")[0] == digest
        assert f"{name}: {registry.host}/{name}:1  {digest}" in run.err
    assert builder.run("run", f"{registry.host}/app:1", "cat", "/app").out == "lib\nshared\n"
    again = builder.run("bake", *flags, "other", "--set", "other.args.WORD=two")
    assert "echo two" in again.err
    assert builder.run("run", f"{registry.host}/other:1", "cat", "/other").out == "two\n"


MEET = "RUN --mount=type=cache,id=meet,target=/meet"
WAIT = "while ! test -e /meet/{}; do sleep 0.1; done"


def targets(builder, **texts):
    """A bake file of targets, each in a directory of its own with this Dockerfile."""
    home = builder.context({f"{name}/Dockerfile": text for name, text in texts.items()})
    for name in texts:
        (home / name / "same").write_text("same")
    found = {name: {"context": str(home / name), "tags": [f"made/{name}:1"]} for name in texts}
    path = builder.folder / "docker-bake.json"
    path.write_text(json.dumps({"target": found}))
    return path


def test_independent_targets_run_at_the_same_time(builder, registry):
    """Each waits for the other."""
    text = f"FROM {registry.host}/base:1\n{MEET} touch /meet/%s && {WAIT}\n"
    file = targets(builder, one=text.format("two") % "one", two=text.format("one") % "two")
    builder.run("bake", "-f", file)


def test_what_different_contexts_have_in_common_is_built_once(builder, registry):
    base = f"FROM {registry.host}/base:1\n"
    text = f"{base}COPY same /same\nRUN cat /proc/sys/kernel/random/uuid >/u\n"
    file = targets(builder, one=f"{text}LABEL a=1\n", two=f"{text}RUN true\n")
    run = builder.run("bake", "-f", file)
    assert run.err.count("CACHED") == 2  # COPY and RUN
    stamps = [builder.run("run", f"made/{name}:1", "cat", "/u").out for name in ("one", "two")]
    assert stamps[0] == stamps[1]


def test_a_target_on_another_one_goes_on_from_its_image(builder, registry):
    """As if that one had been pushed and pulled: files, configuration and history."""
    lib = f"FROM {registry.host}/base:1\nENV WORD=lib\nRUN echo $WORD > /made\n"
    file = targets(builder, lib=lib, app="FROM lib\nRUN cat /made > /app\nCMD cat /app\n")
    plan = json.loads(file.read_text())
    plan["target"]["app"]["contexts"] = {"lib": "target:lib"}
    file.write_text(json.dumps(plan))
    builder.run("bake", "-f", file, "app")
    assert builder.run("run", "made/app:1").out == "lib\n"
    config = json.loads(builder.run("inspect", "--json", "made/app:1").out)["config"]
    assert "WORD=lib" in config["config"]["Env"]
    made = [line["created_by"].split(" #")[0] for line in config["history"]]
    assert made[-4:] == [
        "ENV WORD=lib",
        "RUN /bin/sh -c echo $WORD > /made",
        "RUN /bin/sh -c cat /made > /app",
        'CMD ["/bin/sh" "-c" "cat /app"]',
    ]


def test_a_failure_ends_the_others_and_what_was_finished_is_kept(builder, registry):
    base = f"FROM {registry.host}/base:1\n"
    file = targets(
        builder,
        slow=f"{base}RUN sleep 120\n",
        good=f"{base}{MEET} touch /meet/good\n",
        bad=f"{base}{MEET} {WAIT.format('good')}; sleep 2; exit 3\n",
    )
    started = time.monotonic()
    run = builder.run("bake", "-f", file, expect=1)
    assert time.monotonic() - started < 60
    assert "ERROR: target bad: " in run.err
    assert "exit code: 3" in run.err
    assert "bad/Dockerfile:2" in run.err
    assert "good: made/good:1  sha256:" in run.err
    assert "slow: made/slow" not in run.err
    names = builder.run("images").out
    assert "made/good" in names
    assert "made/slow" not in names


@pytest.mark.parametrize("late", ["one", "two"])
def test_which_target_is_faster_does_not_decide_the_order_of_files(builder, registry, late):
    """A layer that both have holds the files in the order of the targets, whoever reads first."""
    early = "two" if late == "one" else "one"
    shared = f"FROM {registry.host}/base:1\nRUN echo 1 > /b && echo 2 > /a && echo 3 > /c\n"
    step = {
        early: f"{MEET} cat /{{}} && touch /meet/{early}",
        late: f"{MEET} {WAIT.format(early)} && cat /{{}}",
    }
    one, two = (step[name].format(file) for name, file in (("one", "b"), ("two", "a")))
    file = targets(builder, one=f"{shared}{one}\n", two=f"{shared}{two}\n")
    builder.run("bake", "-f", file)
    shown = json.loads(builder.run("inspect", "--json", "made/two:1").out)
    assert shown["layers"][1]["prefetch"]["files"] == ["b", "a"]
