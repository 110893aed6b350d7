"""`lazybuild inspect` after real builds: what was noted of their fetches, and the page it makes."""

import gzip
import io
import json

import pytest
from support import browser, tars
from support.browser import Browser
from support.images import put_image
from support.layers import file, write
from support.legacy import stargz
from support.tiny_image import noise

from lazybuild.estargz.streams import decompress
from lazybuild.estargz.tail import Compression
from lazybuild.estargz.writer import WriterOptions, write_plain
from lazybuild.oci.descriptor import (
    OCI_LAYER_GZIP,
    TOC_DIGEST,
)
from lazybuild.oci.digest import of

pytestmark = pytest.mark.rootless

OFF = ("--profile-from", "off", "--profile-to", "off")
READ = "RUN cat /bin/perl > /dev/null\n"
HOSTILE = (
    "<script>document.title='x'</script><img src=x onerror=alert(1)>"  # a file in a folder '<'
)


def built(builder, base, steps, *flags, **more):
    return builder.build({"Dockerfile": f"FROM {base}\n{steps}"}, *OFF, "-t", "one", *flags, **more)


def last(builder, name="one"):
    """What is known of the last build of the bottom layer."""
    return json.loads(builder.run("inspect", "--json", name).out)["layers"][0]["lastBuild"]


def test_a_build_notes_what_it_fetched_of_a_lazy_base(builder, registry):
    run = built(builder, f"{registry.host}/base:1", READ)
    noted = last(builder)
    (base,) = [layer for layer in run.stats["layers"] if layer["mode"] == "lazy"]
    assert (noted["bytesFetched"], noted["requests"]) == (base["bytes_fetched"], base["requests"])
    assert (noted["mode"], noted["bytesRead"]) == ("lazy", base["bytes_read"])
    assert 0 < noted["bytesRead"] <= noted["bytesFetched"] < base["size"]
    step = run.step("RUN")
    assert 0 < step["bytes_fetched"] <= base["bytes_fetched"]
    assert 0 < step["requests"] <= run.stats["requests"] == base["requests"]
    text = builder.run("inspect", "one").out
    assert f"in {noted['requests']} requests, read lazy, 20" in text

    again = built(builder, f"{registry.host}/base:1", READ, "--no-cache")
    assert again.stats["requests"] == last(builder)["requests"] == 0
    page = builder.run("inspect", "--html", "-", "one").out
    assert 'class="kept' in page


def test_a_build_that_fails_is_noted_as_well_and_the_note_goes_with_the_layer(builder, registry):
    base = f"{registry.host}/base:1"
    built(builder, base, READ + "RUN false\n", expect=1)
    assert last(builder, base)["requests"] > 0
    builder.run("prune", "-af")
    assert last(builder, base) is None


def test_what_the_builder_reads_itself_is_noted(builder, registry):
    base = f"{registry.host}/base:1"
    text = f"FROM scratch\nCOPY --from={base} /etc/group /group\n"
    run = builder.build({"Dockerfile": text}, *OFF)
    assert run.stats["tier"] == "T0"
    noted = last(builder, base)
    assert 0 < noted["bytesFetched"] == run.stats["bytes_fetched"] < 400_000
    refused = builder.run("inspect", "--html", "/nowhere/report.html", base, expect=1)
    assert "/nowhere/report.html" in refused.err
    assert "read by the builder for COPY" in builder.run("inspect", "--html", "-", base).out


def test_a_layer_fetched_whole_is_noted_with_its_ranges(builder, registry):
    tar = tars.tar([tars.file("data", noise(5 << 20))])
    blob = gzip.compress(tar, 1)
    name = put_image(registry, "plain", (OCI_LAYER_GZIP, blob, of(tar), {}))
    text = f"FROM {registry.host}/base:1\nRUN --mount=from={name},target=/m test -s /m/data\n"
    builder.build({"Dockerfile": text}, *OFF)
    noted = last(builder, name)
    assert (noted["mode"], noted["reason"]) == ("eager", "not eStargz")
    assert (noted["bytesFetched"], noted["requests"]) == (len(blob), 3)
    page = builder.run("inspect", "--html", "-", name).out
    assert "Read eager: not eStargz" in page
    assert "gzip" in page


def layer_of(compression):
    """(media type, blob, diff ID, annotations) of a layer of three files, two of them put first."""
    items = [
        file(f"{compression}.{name}", noise(9000, number)) for number, name in enumerate("abc")
    ]
    out = io.BytesIO()
    if compression.lazy:
        hot = [items[2].entry.name, items[0].entry.name]
        blob, written = write(items, hot=hot, compression=compression)
        notes = dict(written.annotations)
    else:
        options = WriterOptions(compression=compression)
        blob, written = out, write_plain(items, out.write, options=options)
        blob, notes = out.getvalue(), {}
    return written.media_type, blob, written.diff_id, notes


def legacy_layer(folder):
    data = tars.tar([tars.file("old", noise(9000, 7))])
    (folder / "old.tar").write_bytes(data)
    blob = stargz(folder / "old.tar")
    return OCI_LAYER_GZIP, blob, of(decompress(io.BytesIO(blob)).read()), {}


def test_inspect_foretells_how_each_format_is_read_and_in_which_order(builder, registry, tmp_path):
    """A layer of each format in one image; a build over it then reads them as was said."""
    layers = {str(kind): layer_of(kind) for kind in Compression}
    layers["stargz"] = legacy_layer(tmp_path)
    name = put_image(registry, "formats", *layers.values())
    said = dict(
        zip(layers, json.loads(builder.run("inspect", "--json", name).out)["layers"], strict=True)
    )
    lazy = [str(kind) for kind in Compression if kind.lazy]
    marked = [key for key in lazy if key != Compression.PODMAN]  # podman's layers have no landmark
    formats = {key: layer["format"] for key, layer in said.items()}
    assert formats == {**{key: key for key in layers}, "none": "tar"}
    for key, layer in said.items():
        assert layer["mode"] == ("lazy" if key in lazy else "eager")
        files = [f"{key}.c", f"{key}.a"] if key in marked else []
        assert layer["prefetch"]["files"] == files
        assert bool(layer["reason"]) == (key not in lazy)
    assert "--allow-unverified" in said["stargz"]["reason"]
    text = builder.run("inspect", name).out
    for key in lazy:
        assert f"  format     {key}\n" in text
        assert (f"    {key}.c\n    {key}.a\n" in text) == (key in marked)
    assert "eager: no TOC digest in the manifest" in text

    run = built(builder, f"{registry.host}/base:1", f"RUN --mount=from={name},target=/m ls /m\n")
    modes = {layer["digest"]: layer["mode"] for layer in run.stats["layers"]}
    assert {layer["digest"]: layer["mode"] for layer in said.values()}.items() <= modes.items()


def test_a_hostile_image_in_a_real_browser(builder, registry, tmp_path):
    if browser.PROGRAM is None:
        pytest.skip("not run: chromium is not installed")
    items = [file(HOSTILE, noise(90_000)), file("b", noise(90_000, seed=2))]
    blob, written = write(items, hot=[HOSTILE])
    notes = {TOC_DIGEST: written.toc_digest}
    config = {"created": HOSTILE, "os": "linux"}
    name = put_image(registry, "hostile", (OCI_LAYER_GZIP, blob, written.diff_id, notes), **config)
    step = f"RUN --mount=from={name},target=/m cat /m/*script* > /dev/null; true\n"
    built(builder, f"{registry.host}/base:1", step + READ)
    with Browser(tmp_path / "profile") as chromium:
        for image in (name, "one"):
            page = tmp_path / "report.html"
            builder.run("inspect", "--html", page, image)
            look_at(chromium, page)


def look_at(chromium, page):
    seen = chromium.open(page)
    assert seen.requests == [page.as_uri(), "data:,"] or seen.requests == [page.as_uri()]
    assert seen.complaints == []
    assert "lazybuild" in chromium.evaluate("document.title")
    assert chromium.evaluate("document.scripts.length + document.images.length") == 0
    assert chromium.evaluate("document.querySelectorAll('svg.timeline rect').length") > 3
    assert chromium.evaluate("document.querySelectorAll('svg.field rect').length") > 1
    unnamed = (
        "[...document.querySelectorAll('svg[role=img]')].filter(x => !x.querySelector('title'))"
    )
    assert chromium.evaluate(f"{unnamed}.length") == 0
    ground = "getComputedStyle(document.body).backgroundColor"
    shots = set()
    for width in (1200, 400):
        chromium.resize(width)
        assert chromium.evaluate("document.documentElement.scrollWidth") <= width
        for scheme in ("light", "dark"):
            chromium.prefer(scheme)
            shots.add(chromium.evaluate(ground))
    assert len(shots) == 2
    assert chromium.screenshot().startswith(b"\x89PNG\r\n")
