"""Whole builds through the command line, as an unprivileged user over a real registry."""

import json
import re
import signal
import subprocess
import tarfile
import urllib.request

import pytest
from support import validate
from support.building import Builder, interrupt, settled
from support.faults import ALWAYS, Fault

from lazybuild.estargz.streams import decompress
from lazybuild.oci import codec

pytestmark = pytest.mark.rootless


def dev_stage(base):
    return {
        "Dockerfile": f"""\
FROM {base} AS dev
WORKDIR /build
RUN echo tool > /usr/tool && chmod 755 /usr/tool
COPY src .
RUN cat src.txt /usr/tool > result

FROM scratch
COPY --from=dev /build/result /result
ENTRYPOINT ["/result"]
""",
        "src/src.txt": "source\n",
    }


def test_a_dev_stage_is_built_over_a_lazy_base_and_not_built_twice(builder, base):
    first = builder.build(
        dev_stage(base), "-t", "demo:lazy", "-o", f"type=local,dest={builder.folder}/out"
    )
    assert (builder.folder / "out/result").read_text() == "source\ntool\n"
    assert first.stats["tier"] == "T1"
    modes = {layer["mode"] for layer in first.stats["layers"]}
    assert modes == {"lazy", "local"}
    again = builder.build(dev_stage(base), "-t", "demo:lazy")
    assert again.digest == first.digest
    assert again.stats["tier"] == "T0"
    assert all(step["cached"] for step in again.stats["steps"] if "[" in step["name"])


def test_the_same_build_in_another_store_gives_the_same_digest(builder, base, tmp_path):
    flags = ("-t", "x", "--source-date-epoch", "1700000000")
    other = Builder(tmp_path / "other")
    files = dev_stage(base)
    files["Dockerfile"] += f"\nFROM {base}\nCOPY src /src\nRUN cat /src/src.txt > /copy\n"
    assert builder.build(files, *flags).digest == other.build(files, *flags).digest


def test_without_fuse_the_same_build_is_eager_and_says_so(builder, base):
    run = builder.build(dev_stage(base), "-t", "x", "--isolation", "T3")
    assert run.stats["tier"] == "T3"
    assert "tier T3" in run.err
    assert [layer["mode"] for layer in run.stats["layers"] if layer["mode"] != "local"] == ["eager"]


def test_eager_and_lazy_builds_give_the_same_image(builder, base, tmp_path):
    flags = ("-t", "x", "--source-date-epoch", "1700000000")
    other = Builder(tmp_path / "other")
    files = {"Dockerfile": f"FROM {base}\nWORKDIR /new\nRUN echo a > /new/a; rm /bin/perl\n"}
    lazy, eager = builder.build(files, *flags), other.build(files, *flags, "--isolation", "T3")
    assert lazy.digest == eager.digest


def test_require_lazy_refuses_an_eager_layer(builder, base):
    run = builder.build(
        dev_stage(base), "--isolation", "T3", "--require-lazy", "-t", "x", expect=125
    )
    assert "can't be read lazily" in run.err


def test_a_pushed_image_is_valid_and_its_base_was_mounted_not_sent(builder, base, registry):
    files = {"Dockerfile": f"FROM {base}\nRUN echo new > /new\nLABEL a=b\n"}
    run = builder.build(files, "-t", f"{registry.host}/made/image:1", "--push")
    document = codec.parse_document(registry_bytes(registry, "made/image", run.digest))
    assert len(document.layers) == 2
    uploads = [item for item in registry.requests("POST") if "made/image" in item.path]
    assert any("mount=" in item.query for item in uploads)
    puts = [item for item in registry.requests("PUT") if "made/image" in item.path]
    sent = [item for item in puts if document.layers[0].digest[7:] in item.query]
    assert sent == []


def registry_bytes(registry, repository, digest):
    with urllib.request.urlopen(f"{registry.url}/v2/{repository}/manifests/{digest}") as reply:
        return reply.read()


def test_the_store_holds_a_valid_oci_layout(builder, base):
    run = builder.build(dev_stage(base), "-t", "demo:lazy")
    layout = builder.folder / "store"
    listed = subprocess.run(
        ["skopeo", "inspect", f"oci:{layout}:docker.io/library/demo:lazy"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(listed.stdout)["Digest"] == run.digest
    index = codec.parse_index((layout / "index.json").read_bytes())
    validate.validate(
        index.manifests[0],
        lambda descriptor: (layout / "blobs/sha256" / descriptor.digest[7:]).open("rb"),
        lambda stream, media_type: decompress(stream),
    )


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_run_that_fails_shows_its_code_its_line_and_its_last_output(builder, base):
    run = builder.build(
        {"Dockerfile": f"FROM {base}\nRUN echo before\nRUN echo last words; exit 7\n"}, expect=1
    )
    assert "exit code: 7" in run.err
    assert "Dockerfile:3" in run.err
    assert re.search(r"------\n > \[3/3\] RUN .*:\nlast words\n------", run.err)
    again = builder.build({"Dockerfile": f"FROM {base}\nRUN echo before\n"}, "-t", "x")
    assert again.step("RUN echo before")["cached"]


@pytest.mark.parametrize(
    ("text", "message", "code"),
    [
        ("FROM scratch\nRUNN true\n", "unknown instruction", 1),
        ("FROM BASE AS dev\nFROM HOST/devv:1\nCOPY --from=dev /bin/sh /\n", "devv", 104),
        ("FROM BASE\nCOPY missing /x\n", "missing", 1),
        ("FROM BASE\nCOPY --from=HOST/nowhere:1 /x /x\n", "nowhere", 104),
        ("FROM HOST/base:wrong\nRUN true\n", "wrong", 104),
        ("FROM 127.0.0.1:1/base:1\nRUN true\n", "127.0.0.1:1", 104),
    ],
)
def test_bad_input_is_a_clear_error(builder, base, text, message, code):
    dockerfile = text.replace("BASE", base).replace("HOST", base.partition("/")[0])
    run = builder.build({"Dockerfile": dockerfile}, expect=code)
    assert message in run.err
    assert "Traceback" not in run.err
    assert run.out == ""
    assert builder.build({"Dockerfile": f"FROM {base}\nRUN true\n"}, "-t", "x").code == 0


def test_a_corrupt_chunk_is_fetched_again_and_then_an_error(builder, base, registry):
    layer = base_layer(registry)
    registry.fault(Fault(method="GET", path=layer, flip=100, times=ALWAYS))
    try:
        run = builder.build({"Dockerfile": f"FROM {base}\nRUN cat /etc/passwd\n"}, expect=1)
    finally:
        registry.script.clear()
    assert layer[7:19] in run.err
    assert "corrupt" in run.err
    assert builder.build({"Dockerfile": f"FROM {base}\nRUN cat /etc/passwd\n"}, "-t", "x").code == 0


def base_layer(registry):
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"{registry.url}/v2/base/manifests/1", headers=accept)
    with urllib.request.urlopen(request) as reply:
        return codec.parse_document(reply.read()).layers[0].digest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_running_step_and_leaves_nothing(builder, base, number):
    files = {"Dockerfile": f"FROM {base}\nRUN echo one\nRUN echo running; sleep 100\n"}
    process = builder.started(files, until="running")
    run = interrupt(process, number)
    assert run.code == 128 + number
    assert settled(builder.leftovers) == []
    again = builder.build({"Dockerfile": f"FROM {base}\nRUN echo one\n"}, "-t", "x")
    assert again.step("RUN echo one")["cached"]


def test_after_kill_9_nothing_runs_on_and_the_next_build_recovers(builder, base):
    files = {"Dockerfile": f"FROM {base}\nRUN echo one\nRUN echo running; sleep 100\n"}
    process = builder.started(files, until="running")
    process.kill()
    process.communicate()
    assert settled(builder.leftovers) == []
    again = builder.build({"Dockerfile": f"FROM {base}\nRUN echo one\nRUN echo two\n"}, "-t", "x")
    assert again.step("RUN echo one")["cached"]


def test_two_stages_run_at_the_same_time(builder, base):
    gate = "for i in 1 2 3 4 5 6 7 8 9; do [ -e /both/{other} ] || sleep 1; done; cat /both/{other}"
    mount = "--mount=type=cache,id=both,target=/both"
    files = {
        "Dockerfile": f"""\
FROM {base} AS one
RUN {mount} touch /both/one; {gate.format(other="two")}; echo 1 > /one
FROM {base} AS two
RUN {mount} touch /both/two; {gate.format(other="one")}; echo 2 > /two
FROM scratch
COPY --from=one /one /one
COPY --from=two /two /two
"""
    }
    assert builder.build(files, "-t", "x").code == 0


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none", "zstd:chunked"])
def test_every_compression_works_without_a_namespace(builder, compression):
    files = {"Dockerfile": "FROM scratch\nCOPY a /\n", "a": "text" * 1000}
    assert builder.build(files, "-t", "x", "--compression", compression).stats["tier"] == "T0"


def test_a_name_of_the_store_wins_and_is_no_origin(builder):
    builder.build({"Dockerfile": "FROM scratch\nCOPY a /\n", "a": "one"}, "-t", "own-base")
    child = {"Dockerfile": "FROM own-base\nCOPY b /\n", "b": "two"}
    out = builder.folder / "out"
    builder.build(child, "-o", out)
    assert sorted(path.name for path in out.iterdir() if path.stat().st_size > 1) == ["a", "b"]


def test_owners_of_a_plain_base_are_its_own_when_nothing_is_run(builder, registry, base):
    plain = f"{registry.host}/plain:1"
    files = {"Dockerfile": f"FROM {base}\nCOPY a /etc/\n", "a": "a"}
    builder.build(files, "-t", plain, "--push", "--compression", "gzip")
    text = f"FROM {plain} AS one\nRUN id > /x\nFROM scratch\nCOPY --from=one /etc /etc\n"
    builder.build({"Dockerfile": text}, "-t", "first")
    out = builder.folder / "out.tar"
    builder.build(
        {"Dockerfile": f"FROM scratch\nCOPY --from={plain} /etc /etc\n"},
        "-o",
        f"type=tar,dest={out}",
    )
    with tarfile.open(out) as tar:
        assert {(member.uid, member.gid) for member in tar} == {(0, 0)}
