"""How much of a lazy layer a build fetches: one file of it, all of it in the background, or all of
it because most of it was read; and what is said of that.
"""

import pytest
from support.building import Builder
from support.tiny_image import noise

pytestmark = pytest.mark.rootless
FILES = 12
SIZE = 512 << 10


@pytest.fixture(scope="module")
def registry(registry, tmp_path_factory):
    """`huge:1` is the base and a layer of files that nothing reads by itself."""
    files = {f"f{number:02}": noise(SIZE, number) for number in range(FILES)}
    text = f"FROM {registry.host}/base:1\nCOPY f* /data/\n"
    Builder(tmp_path_factory.mktemp("huge")).build(
        {"Dockerfile": text, **files}, "-t", f"{registry.host}/huge:1", "--push", "--no-prefetch"
    )
    return registry


def data_layer(run):
    return next(layer for layer in run.stats["layers"] if layer["size"] > FILES * SIZE)


def blob_bytes(registry):
    found = registry.requests("GET", "/v2/huge/blobs/")
    return sum(it.sent for it in found if it.range)


def test_one_file_of_a_huge_image_costs_its_own_chunks(builder, registry):
    before = blob_bytes(registry)
    text = f"FROM scratch\nCOPY --from={registry.host}/huge:1 /data/f07 /one\n"
    builder.build({"Dockerfile": text}, "-o", f"{builder.folder}/out")
    assert (builder.folder / "out/one").read_bytes() == noise(SIZE, 7)
    assert SIZE <= blob_bytes(registry) - before < 3 * SIZE  # with both tables of contents


def test_the_rest_is_fetched_in_the_background_on_request(builder, registry):
    text = f"FROM {registry.host}/huge:1\nRUN sleep 3\n"
    layer = data_layer(builder.build({"Dockerfile": text}, "--background-fetch"))
    assert layer["mode"] == "lazy"
    assert layer["fetched_for"]["fill"] >= FILES * SIZE
    plain = Builder(builder.folder / "plain")
    run = plain.build({"Dockerfile": text.replace("sleep 3", "true")})
    assert sum(data_layer(run)["fetched_for"].values()) < SIZE


def test_a_layer_of_which_most_was_read_is_fetched_to_its_end(builder, registry):
    names = " ".join(f"/data/f{number:02}" for number in range(9))
    text = f"FROM {registry.host}/huge:1\nRUN cat {names} > /dev/null; sleep 2\n"
    run = builder.build({"Dockerfile": text}, "--profile-from", "off")
    layer = data_layer(run)
    assert layer["bytes_fetched"] >= FILES * SIZE
    assert layer["fetched_for"]["fill"] >= SIZE
    assert f"layer {layer['digest'][:19]}: " in run.err
    assert " in the background (" in run.err
