"""Layers of ours: the steps that write them, what they write, how they are offered and taken."""

import http.client
import io
import json
import socket
import sys
import threading
from dataclasses import replace

import pytest
from support.bridge import Bridge
from support.dockerfiles import AMD64, compiled, digest_of

from frontend import convert, loopback, rank
from frontend.exact import Exporter, Offer, UnreachableError
from frontend.ghost import ghost
from frontend.layers import WrittenLayer, from_json, stack, to_json
from frontend.orders import Orders
from frontend.places import BLOBS, LAYER, NAMES
from frontend.tool import Tool
from frontend.writers import Plan
from lazybuild.estargz import tar
from lazybuild.estargz.reader import open_toc
from lazybuild.estargz.streams import decompress
from lazybuild.estargz.writer import WriterOptions
from lazybuild.llb.graph import Edge, Vertex, walk
from lazybuild.llb.ops import DiffOp, ExecOp, MergeOp, NetworkMode, SourceOp
from lazybuild.oci import codec
from lazybuild.oci.descriptor import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from lazybuild.oci.digest import DiffID, hex_part
from lazybuild.snapshots.difference import Difference
from lazybuild.snapshots.dirtree import DirTree
from lazybuild.wire.calls import open_channel
from lazybuild.wire.decode import decode
from lazybuild.wire.encode import Style, encode
from lazybuild.wire.gateway import Gateway

TOOL = Tool(
    root=Edge(Vertex(op=SourceOp(identifier="docker-image://me/frontend"))),
    python="/usr/bin/python3",
    env=("PYTHONPATH=/opt/app",),
)
TEXT = 'FROM debian\nRUN make\nCOPY a /\nENTRYPOINT ["/bin/app"]\n'


def layer(name, *removed):
    descriptor = Descriptor(
        media_type=OCI_LAYER_GZIP, digest=digest_of(name), size=7, annotations={"toc": name}
    )
    return WrittenLayer(
        descriptor=descriptor, diff_id=DiffID(digest_of(f"diff {name}")), removed=removed
    )


# --- the steps -----------------------------------------------------------------------------------


def mounts(edge):
    """dest: (identifier or None, output, readonly, selector) of a step's mounts."""
    vertex = edge.vertex
    return {
        m.dest: (None if m.input < 0 else vertex.inputs[m.input], m.output, m.readonly, m.selector)
        for m in vertex.op.mounts
    }


def test_each_layer_has_a_step_that_sees_before_and_after():
    found = stack(compiled(TEXT).head)
    first, second = Plan(tool=TOOL, orders=Orders(), epoch=7).writers(found)
    seen = mounts(second)
    assert seen["/mnt/upper"][0] == found.tops[1]
    assert seen["/mnt/lower"][0] == found.tops[0]
    assert mounts(first)["/mnt/lower"][0] == found.base
    assert seen["/mnt/out"] == (None, 1, False, "")
    assert second.index == 1
    ranking, _, readonly, selector = seen["/mnt/ranked"]
    assert (readonly, selector) == (True, "/2")
    assert json.loads(second.vertex.op.meta.args[-1]) == {"epoch": 7}
    assert second.vertex.op.network is NetworkMode.NONE
    assert mounts(ranking)["/mnt/tops/2"][0] == found.tops[1]
    assert decode(encode(second).definition) == second


def test_over_scratch_there_is_no_before():
    found = stack(compiled("FROM scratch\nCOPY a /\n").head)
    (only,) = Plan(tool=TOOL, orders=Orders()).writers(found)
    assert "/mnt/lower" not in mounts(only)
    ranking = mounts(only)["/mnt/ranked"][0]
    assert sorted(mounts(ranking)) == ["/", "/mnt/out", "/mnt/tops/1"]


def test_traces_are_there_when_files_are_ranked():
    trace = Edge(Vertex(op=SourceOp(identifier="docker-image://trace")))
    found = stack(compiled(TEXT).head)
    writers = Plan(tool=TOOL, orders=Orders(), traces=(trace,)).writers(found)
    ranking = mounts(writers[0])["/mnt/ranked"][0]
    assert mounts(ranking)["/mnt/traces/0"][0] == trace


# --- what they do --------------------------------------------------------------------------------


@pytest.fixture
def trees(tmp_path):
    lower, upper = tmp_path / "0", tmp_path / "1"
    for place, names in ((lower, ("a", "b")), (upper, ("a", "c", "d"))):
        place.mkdir()
        for name in names:
            (place / name).write_text(name)
    (upper / "a").write_text("changed")
    return lower, upper


def test_a_layer_is_written(trees, tmp_path):
    tree = Difference(DirTree(trees[0]), DirTree(trees[1]))
    out = tmp_path / "out"
    written = convert.write(tree, ["d", "gone"], WriterOptions(epoch=1), out)
    assert written == from_json((out / LAYER).read_bytes())
    assert written.removed == ("b",)
    blob = (out / BLOBS / hex_part(written.descriptor.digest)).read_bytes()
    assert len(blob) == written.descriptor.size
    entries = [item.entry for item in tar.read(decompress(io.BytesIO(blob)))]
    assert [e.name for e in entries] == ["d", ".prefetch.landmark", "a", ".wh.b", "c"]
    assert {e.mtime for e in entries if e.name == "a"} == {10**9}
    toc = open_toc(Bytes(blob), written.descriptor.annotations)
    assert toc.verify(written.descriptor.annotations["containerd.io/snapshot/stargz/toc.digest"])


class Bytes:
    def __init__(self, data):
        self.data = data
        self.size = len(data)

    def read_at(self, offset, length):
        return self.data[offset : offset + length]


def test_a_name_that_is_no_text_makes_a_plain_layer(trees, tmp_path, capsys):
    (trees[1] / "x\udcff").write_text("x")
    tree = Difference(DirTree(trees[0]), DirTree(trees[1]))
    written = convert.write(tree, [], WriterOptions(), tmp_path / "out")
    assert written.descriptor.annotations == {}
    assert "not UTF-8" in capsys.readouterr().err


def test_a_file_comes_first_in_the_layer_it_is_from(trees):
    lower, upper = (DirTree(path) for path in trees)
    found = rank.ranked([None, lower], [lower, upper], ["c", "a"])
    assert found == [[], ["c", "a"]]
    assert rank.ranked([lower], [upper], ["d"]) == [["d"]]
    assert rank.ranked([lower], [lower], ["a"]) == [[]]


def test_the_programs(trees, tmp_path, monkeypatch, capsys):
    ranked, out = tmp_path / "ranked", tmp_path / "written"
    ranked.mkdir()
    monkeypatch.setattr(rank, "TOPS", str(tmp_path))
    monkeypatch.setattr(rank, "TRACES", str(tmp_path / "traces"))
    monkeypatch.setattr(rank, "OUT", str(ranked))
    monkeypatch.setattr("sys.argv", ["rank", json.dumps(GLOB)])
    assert rank.main() == 0
    assert json.loads((ranked / "1" / NAMES).read_text()) == ["c"]
    for name, place in {"LOWER": trees[0], "UPPER": trees[1], "RANKED": ranked / "1"}.items():
        monkeypatch.setattr(convert, name, str(place))
    monkeypatch.setattr(convert, "OUT", str(out))
    monkeypatch.setattr("sys.argv", ["convert", '{"epoch": null}'])
    assert convert.main() == 0
    assert "1 files first" in capsys.readouterr().err


GLOB = {"argv": [], "env": [], "cwd": "/", "globs": ["c"]}


# --- the offer -----------------------------------------------------------------------------------


def manifest(offer, wanted):
    return codec.parse_document(offer.documents[wanted], OCI_MANIFEST)


def test_layers_over_scratch_are_the_image():
    offer = Offer.of([layer("a"), layer("b", "x")], AMD64, over_base=False)
    head = offer.over(None, "127.0.0.1:1", AMD64)
    assert head.vertex.op.identifier == f"docker-image://127.0.0.1:1/{offer.name}@{offer.whole}"
    assert [found.digest for found in manifest(offer, offer.whole).layers] == [
        digest_of("a"),
        digest_of("b"),
    ]
    assert manifest(offer, offer.whole).layers[0].annotations == {"toc": "a"}


def test_layers_that_only_add_are_laid_over_the_base():
    base = Edge(Vertex(op=SourceOp(identifier="docker-image://base")))
    offer = Offer.of([layer("a")], AMD64, over_base=True)
    head = offer.over(base, "h:1", AMD64)
    assert isinstance(head.vertex.op, MergeOp)
    assert head.vertex.inputs == (base, offer.image("h:1", AMD64))
    assert offer.manifests == (offer.whole,)


def test_layers_that_remove_stand_on_one_that_is_not_taken():
    base = Edge(Vertex(op=SourceOp(identifier="docker-image://base")))
    offer = Offer.of([layer("a", "bin/x"), layer("b")], AMD64, over_base=True)
    shade, *rest = manifest(offer, offer.whole).layers
    assert [found.digest for found in rest] == [digest_of("a"), digest_of("b")]
    assert manifest(offer, offer.shade).layers == (shade,)
    assert shade.digest in offer.documents
    head = offer.over(base, "h:1", AMD64)
    diff = head.vertex.inputs[1].vertex
    assert isinstance(diff.op, DiffOp)
    assert diff.inputs == (
        offer.image("h:1", AMD64, offer.shade),
        offer.image("h:1", AMD64),
    )
    assert decode(encode(head).definition) == head


def test_the_layer_to_remove_from_has_every_path():
    written, blob = ghost(["a/b/c", "a/b", "z"])
    items = [item.entry for item in tar.read(decompress(io.BytesIO(blob)))]
    kinds = {entry.name: str(entry.kind) for entry in items if "landmark" not in entry.name}
    assert kinds == {"a": "dir", "a/b": "dir", "a/b/c": "reg", "z": "reg"}
    assert written.descriptor.size == len(blob)


# --- the whole way, with a BuildKit of tables ----------------------------------------------------

PORT = "import time; print(4242, flush=True); time.sleep(60)"


class Speaking(Tool):
    """A tool whose programs are another one."""

    text = PORT

    def argv(self, module, *arguments):
        if module != "frontend.loopback":
            return super().argv(module, *arguments)
        return (sys.executable, "-c", self.text)


class Silent(Speaking):
    text = "raise SystemExit('no network')"


def export(tool, text=TEXT, network=NetworkMode.UNSET):
    tool = tool(root=TOOL.root, python=TOOL.python)
    with Bridge({}) as bridge, open_channel(bridge.target) as channel:
        bridge.written = {LAYER: to_json(layer("a", "x")).encode()}
        exporter = Exporter(
            gateway=Gateway(channel), tool=tool, style=Style(), imports=(), network=network
        )
        return bridge, exporter.export(compiled(text), Orders(), ())


def test_the_result_is_what_was_pulled():
    bridge, result = export(Speaking, network=NetworkMode.HOST)
    base, diff = result.head.vertex.inputs
    assert base == stack(compiled(TEXT).head).base
    pulled = [edge.vertex.op.identifier for edge in diff.vertex.inputs]
    assert all(name.startswith("docker-image://127.0.0.1:4242/") for name in pulled)
    asked = {name for number in range(len(bridge.solves)) for name in identifiers(bridge, number)}
    assert set(pulled) <= asked
    ((request, _),) = bridge.containers.values()
    assert [mount.dest for mount in request.Mounts] == [
        "/",
        *(f"/mnt/layers/{n}" for n in range(3)),
    ]
    assert result.config == compiled(TEXT).config


def identifiers(bridge, number):
    vertices = walk(bridge.graph(number).vertex)
    return {v.op.identifier for v in vertices if isinstance(v.op, SourceOp)}


def test_an_image_without_own_layers_stays():
    bridge, result = export(Speaking, "FROM debian\nENV A=b\n")
    assert result == replace(compiled("FROM debian\nENV A=b\n"), head=result.head)
    assert bridge.solves == []


def test_who_does_not_meet_says_so():
    with pytest.raises(UnreachableError, match="no network"):
        export(Silent)


def test_steps_of_ours_run_our_programs():
    bridge, _ = export(Speaking)
    steps = {
        vertex.op.meta.args[2]
        for number in range(len(bridge.solves))
        for vertex in walk(bridge.graph(number).vertex)
        if isinstance(vertex.op, ExecOp) and len(vertex.op.meta.args) == 4
    }
    assert {"frontend.rank", "frontend.convert"} <= steps


# --- the registry --------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path):
    (tmp_path / BLOBS).mkdir(parents=True)
    for data in (b"manifest", b"blob"):
        (tmp_path / BLOBS / hex_part(digest_of(data.decode()))).write_bytes(data)
    return loopback.Shelf(name="ab12", manifests=[digest_of("manifest")], folders=[tmp_path])


@pytest.fixture
def port(shelf):
    with loopback.serving(shelf) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_documents_and_blobs_are_given(port):
    status, headers, data = ask(port, f"/v2/ab12/manifests/{digest_of('manifest')}")
    assert (status, data) == (200, b"manifest")
    assert headers["Content-Type"] == OCI_MANIFEST
    assert headers["Docker-Content-Digest"] == digest_of("manifest")
    status, headers, data = ask(port, f"/v2/ab12/blobs/{digest_of('blob')}")
    assert (status, data) == (200, b"blob")
    assert headers["Content-Type"] == "application/octet-stream"
    status, headers, data = ask(port, f"/v2/ab12/blobs/{digest_of('blob')}", "HEAD")
    assert (status, headers["Content-Length"], data) == (200, "4", b"")
    assert ask(port, "/v2/")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        f"/v2/ab13/blobs/{digest_of('blob')}",
        f"/v2/ab12/blobs/{digest_of('other')}",
        "/v2/ab12/blobs/../../etc/passwd",
        "/v2/ab12/manifests/latest",
        "/",
    ],
)
def test_nothing_else_is(port, path):
    assert ask(port, path)[0] == 404


def test_a_client_that_begins_with_tls_is_told_off(port):
    """At once, however its first message ends: Go's takes that as a sign to try without."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"\x16\x03\x01\x02")
        assert client.recv(100).startswith(b"HTTP/1.0 400 ")
