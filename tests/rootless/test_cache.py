"""Caches that outlive a machine: a cold store with a cache knows what the warm one knew."""

import json
import subprocess
import urllib.request

import pytest
from support.building import settling_builder
from support.faults import ALWAYS, Fault

from lazybuild.oci import codec

pytestmark = pytest.mark.rootless


@pytest.fixture
def warm(tmp_path):
    yield from made(tmp_path / "warm")


@pytest.fixture
def cold(tmp_path):
    yield from made(tmp_path / "cold")


def made(folder):
    folder.mkdir()
    with settling_builder(folder) as builder:
        yield builder
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)


def several_steps(registry, last="last"):
    return {
        "Dockerfile": f"""\
FROM {registry.host}/base:1 AS tools
RUN echo tool > /usr/tool
FROM {registry.host}/base:1
WORKDIR /work
COPY --from=tools /usr/tool /usr/tool
RUN echo second > second
COPY last .
RUN cat last > third
""",
        "last": last,
    }


def steps(run):
    return [step for step in run.stats["steps"] if step["name"].startswith("[")]


def all_cached(run):
    return all(step["cached"] for step in steps(run) if "internal" not in step["name"])


@pytest.mark.parametrize("kind", ["registry", "local", "inline"])
def test_a_cold_store_runs_nothing_and_makes_the_same_image(registry, warm, cold, tmp_path, kind):
    name = f"{registry.host}/cache/{kind}:1"
    to, source = {
        "registry": (f"type=registry,ref={name},mode=max", f"type=registry,ref={name}"),
        "local": (f"type=local,dest={tmp_path}/c,mode=max", f"type=local,src={tmp_path}/c"),
        "inline": ("type=inline", name),
    }[kind]
    first = warm.build(several_steps(registry), "-t", name, "--push", "--cache-to", to)
    if kind == "registry":
        warm.build(several_steps(registry), "-t", "x", "--cache-to", to)  # over the image's tag
    again = cold.build(several_steps(registry), "-t", "x", "--cache-from", source)
    assert all_cached(again)
    assert again.stats["tier"] == "T0"
    if kind != "inline":  # the inline cache itself is not part of the second image
        assert again.digest == first.digest


def test_a_changed_last_step_costs_tables_of_contents_only(registry, warm, cold):
    name = f"{registry.host}/cache/changed:1"
    made = warm.build(
        several_steps(registry), "-t", "x", "--cache-to", f"type=registry,ref={name},mode=max"
    )
    assert made.code == 0
    before = len(registry.log)
    run = cold.build(several_steps(registry, "new"), "-t", "x", "--cache-from", name)
    assert run.step("RUN echo second")["cached"]
    assert run.step("RUN echo tool")["cached"]
    assert not run.step("RUN cat last")["cached"]
    lazy = [layer for layer in run.stats["layers"] if layer["mode"] == "lazy"]
    assert len(lazy) == 4  # the base, WORKDIR, COPY, RUN
    assert not [layer for layer in run.stats["layers"] if layer["mode"] == "eager"]
    base = max(lazy, key=lambda layer: layer["size"])
    asked = [x for x in registry.log[before:] if x.method == "GET" and base["digest"] in x.path]
    assert sum(x.sent for x in asked) < base["size"]


def test_min_holds_the_steps_of_the_result_only(registry, warm, cold):
    name = f"{registry.host}/cache/min:1"
    warm.build(several_steps(registry), "-t", "x", "--cache-to", name)
    run = cold.build(several_steps(registry), "-t", "x", "--cache-from", name)
    assert all_cached(run)  # what the result is made of need not be looked at
    names = [record["name"] for record in document(registry, "cache/min")["records"]]
    assert any("RUN echo second" in name for name in names)
    assert not any("RUN echo tool" in name for name in names)


def document(registry, repository):
    manifest = codec.parse_manifest(get(registry, f"{repository}/manifests/1"))
    return json.loads(get(registry, f"{repository}/blobs/{manifest.config.digest}"))


def get(registry, path):
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"{registry.url}/v2/{path}", headers=accept)
    with urllib.request.urlopen(request) as reply:
        return reply.read()


def test_the_first_of_several_imports_that_has_it_is_taken(registry, warm, cold):
    name = f"{registry.host}/cache/several:1"
    warm.build(several_steps(registry), "-t", "x", "--cache-to", name)
    flags = ("--cache-from", f"{registry.host}/no/where:1", "--cache-from", name)
    run = cold.build(several_steps(registry), "-t", "x", *flags)
    assert all_cached(run)
    assert "no/where:1 can't be used" in run.err


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_cache_that_fails_is_a_warning_unless_it_must_not(registry, cold):
    files = {"Dockerfile": f"FROM {registry.host}/base:1\nRUN echo x > /x\n"}
    flags = ("-t", "x", "--cache-from", "127.0.0.1:1/x:1", "--cache-to", "127.0.0.1:1/x:1")
    run = cold.build(files, *flags)
    assert "can't be used" in run.err
    assert "was not written" in run.err
    strict = cold.build(files, *flags, "--cache-strict", expect=104)
    assert "127.0.0.1:1" in strict.err


def test_a_layer_whose_table_is_not_what_the_cache_says_is_no_hit(registry, warm, cold):
    name = f"{registry.host}/cache/toc:1"
    files = {"Dockerfile": f"FROM {registry.host}/base:1\nRUN echo x > /x\n"}
    warm.build(files, "-t", "x", "--cache-to", f"type=registry,ref={name}")
    layer = codec.parse_manifest(get(registry, "cache/toc/manifests/1")).layers[0]
    registry.fault(Fault(method="GET", path=layer.digest, flip=layer.size - 120, times=ALWAYS))
    try:
        run = cold.build(files, "-t", "x", "--cache-from", name)
    finally:
        registry.script.clear()
    assert not run.step("RUN echo x")["cached"]
    assert "WARNING" in run.err


def test_a_record_over_layers_of_other_images_is_no_hit(registry, warm, cold):
    """A cache may name layers of base images by digest; only those of this build's own count."""
    name = f"{registry.host}/cache/foreign:1"
    files = {"Dockerfile": f"FROM {registry.host}/base:1\nRUN echo x > /x\n"}
    warm.build(files, "-t", "x", "--cache-to", name)
    manifest = codec.parse_manifest(get(registry, "cache/foreign/manifests/1"))
    cache = document(registry, "cache/foreign")
    cache["layers"][0]["digest"] = "sha256:" + "1" * 64
    forged = json.dumps(cache).encode()
    registry.put_blob("cache/foreign", forged)
    registry.put_manifest("cache/foreign", forge(manifest, forged), tag="1")
    run = cold.build(files, "-t", "x", "--cache-from", name)
    assert not run.step("RUN echo x")["cached"]
    assert "no base image of this build" in run.err


def forge(manifest, config):
    from dataclasses import replace  # noqa: PLC0415

    from lazybuild.oci import digest  # noqa: PLC0415

    described = replace(manifest.config, digest=digest.of(config), size=len(config))
    return codec.encode(replace(manifest, config=described))


@pytest.mark.parametrize(
    "text",
    ["type=gha", "type=nope,ref=x", "type=registry", "type=local,src=x", "type=inline,ref=x"],
)
def test_what_a_cache_can_not_be_is_said(cold, text):
    run = cold.build({"Dockerfile": "FROM scratch\n"}, "--cache-to", text, expect=2)
    assert "--cache-to" in run.err


# --- why -----------------------------------------------------------------------------------------


def explained(run):
    lines = [line for line in run.err.splitlines() if line.startswith("explain: ")]
    return {line.split("] ")[0][9:] + "]": line.rpartition(": ")[2] for line in lines}


def test_each_step_is_explained(registry, warm):
    def files(copied="a", command="echo", value="1"):
        return {
            "Dockerfile": f"""\
FROM {registry.host}/base:1
COPY copied /copied
ARG SECRET={value}
RUN {command} one
RUN echo two
""",
            "copied": copied,
        }

    context = warm.context(files())
    first = explained(warm.build(context, "-t", "x", "--explain"))
    assert first["[3/4]"] == "ran, it was never built here"
    again = explained(warm.build(context, "-t", "x", "--explain"))
    assert set(again.values()) == {"cached, nothing changed"}
    (context / "copied").write_text("b")
    run = explained(warm.build(context, "-t", "x", "--explain"))
    assert run["[2/4]"] == "ran, content of /copied changed"
    assert run["[3/4]"] == "ran, [2/4] changed"
    (context / "copied").write_text("a")
    run = explained(warm.build(context, "-t", "x", "--explain"))
    assert set(run.values()) == {"cached, nothing changed", "cached, as in an earlier build"}
    (context / "Dockerfile").write_text(files(command="printf")["Dockerfile"])
    run = explained(warm.build(context, "-t", "x", "--explain"))
    assert run["[3/4]"] == "ran, command changed"
    secret = warm.build(context, "-t", "x", "--explain", "--build-arg", "SECRET=hunter2")
    assert explained(secret)["[3/4]"] == "ran, variable SECRET changed"
    forced = explained(warm.build(context, "-t", "x", "--explain", "--no-cache"))
    assert forced["[4/4]"] == "ran, the cache is not to be used"


# --- cache mounts --------------------------------------------------------------------------------

CACHE = "--mount=type=cache,id=pkg,target=/cache"


def with_mount(registry, command):
    return {"Dockerfile": f"FROM {registry.host}/base:1\nRUN {CACHE} {command}\n"}


@pytest.mark.parametrize("kind", ["registry", "local"])
def test_cache_mounts_travel(registry, warm, cold, tmp_path, kind):
    name = f"{registry.host}/mounts:1"
    to = {"registry": f"type=registry,ref={name}", "local": f"type=local,dest={tmp_path}/m"}[kind]
    source = {"registry": name, "local": f"type=local,src={tmp_path}/m"}[kind]
    fill = "mkdir /cache/d; echo kept > /cache/d/f; ln /cache/d/f /cache/g; chmod 640 /cache/g"
    warm.build(with_mount(registry, fill), "-t", "x", "--cache-mounts-to", to)
    show = "cat /cache/d/f /cache/g; ls -ln /cache/g | cut -c1-10; echo more > /cache/more"
    run = cold.build(with_mount(registry, show), "-t", "x", "--cache-mounts-from", source)
    assert "kept" in run.err
    assert "-rw-r-----" in run.err
    again = cold.build(
        with_mount(registry, "cat /cache/more; echo again"),
        "-t", "x", "--cache-mounts-from", source,
    )  # fmt: skip
    assert " more" in again.err  # what is here is not replaced


def test_cache_mounts_that_can_not_be_had_are_empty(registry, cold):
    name = f"{registry.host}/base:1"
    files = with_mount(registry, "ls -A /cache | wc -l")
    run = cold.build(files, "-t", "x", "--cache-mounts-from", name)
    assert "no cache mounts" in run.err
    assert run.step("ls -A")["cached"] is False
