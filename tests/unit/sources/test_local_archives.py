"""Images in archives: which words name them, what is taken of them, and what is refused."""

import gzip
import hashlib
import io
import json
import os

import pytest
from support.tars import fifo, file, hardlink, symlink, tar

from lazybuild.errors import LazybuildError, UsageError
from lazybuild.oci import codec, transport
from lazybuild.oci import digest as digests
from lazybuild.oci.transport import Kind, kind
from lazybuild.sources import transports
from lazybuild.sources.layouts import take_over
from lazybuild.store import Store

LAYER = tar([file("hello", b"world")])
CONFIG = b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["%s"]}}' % (
    digests.of(LAYER).encode()
)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


def blob(data):
    return file(f"blobs/sha256/{digests.of(data)[7:]}", data)


def manifest_of(layer=LAYER, size=None, config=CONFIG):
    return json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": "c", "digest": digests.of(config), "size": len(config)},
            "layers": [{"mediaType": "l", "digest": digests.of(layer), "size": size or len(layer)}],
        }
    ).encode()


MANIFEST = manifest_of()


def index_of(manifest=MANIFEST, **names):
    items = names or {"1": manifest}
    return json.dumps(
        {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": digests.of(data),
                    "size": len(data),
                    "annotations": {"org.opencontainers.image.ref.name": name},
                }
                for name, data in items.items()
            ],
        }
    ).encode()


LAYOUT = (file("index.json", index_of()), blob(MANIFEST), blob(CONFIG), blob(LAYER))
DOCKER = (
    file("manifest.json", b'[{"Config":"c.json","RepoTags":["app:1"],"Layers":["a/layer.tar"]}]'),
    file("c.json", CONFIG),
)


def archive(place, entries, name="image.tar"):
    (place / name).write_bytes(entries if isinstance(entries, bytes) else tar(entries))
    return place / name


def taken(store, text):
    return codec.parse_manifest(store.blobs.read(take_over(store, transports.parse(text))))


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("oci-archive:a.tar", (Kind.OCI, "a.tar", "")),
        ("oci-archive://a.tar:v1", (Kind.OCI, "a.tar", "v1")),
        ("docker-archive:a.tar:ghcr.io/x/y:1", (Kind.DOCKER, "a.tar", "ghcr.io/x/y:1")),
        ("docker-archive:a.tar:@1", (Kind.DOCKER, "a.tar", "@1")),
        ("docker-archive:with:colon.tar:1", (Kind.DOCKER, "with:colon.tar", "1")),
        ("oci:./d:1", (Kind.LAYOUT, "d", "1")),
        (f"oci-layout://d:1@sha256:{'0' * 64}", (Kind.LAYOUT, "d", f"sha256:{'0' * 64}")),
        ("oci-archive:absent:1", (Kind.OCI, "absent", "1")),
    ],
)
def test_a_place_and_what_is_wanted_there(tmp_path, text, found):
    (tmp_path / "a.tar").touch()
    (tmp_path / "with:colon.tar").touch()
    (tmp_path / "d").mkdir()
    local = transports.parse(text, tmp_path)
    assert (local.kind, str(local.path.relative_to(tmp_path)), local.wanted) == found


@pytest.mark.parametrize("text", ["oci:latest", "debian:12", "docker-image://x", "oci", "a/b"])
def test_names_of_images_are_no_places(text):
    assert kind(text) is None
    assert transports.parse(text) is None


@pytest.mark.parametrize("text", ["docker-daemon:debian:12", "containers-storage:debian"])
def test_the_storage_of_other_programs_is_refused_with_a_way_out(text):
    with pytest.raises(UsageError, match="another program") as error:
        transports.parse(text)
    assert "docker-archive:FILE" in error.value.hint


def test_words_for_images_at_a_registry():
    assert [transport.bare(f"{it}://debian") for it in ("docker", "container-image")] == [
        "debian",
        "debian",
    ]
    assert transport.bare("debian:12") == "debian:12"


def test_a_place_without_a_path_is_refused():
    with pytest.raises(UsageError, match="no file is named"):
        transports.parse("oci-archive://")


# --- what is taken -------------------------------------------------------------------------------


def test_documents_are_copied_and_layers_stay(store, tmp_path):
    path = archive(tmp_path, LAYOUT)
    found = taken(store, f"oci-archive:{path}")
    layer = found.layers[0].digest
    assert store.blobs.keeps(found.config.digest)
    assert not store.blobs.keeps(layer)
    assert store.blobs.has(layer)
    with store.blobs.open(layer) as file_:
        assert file_.read() == LAYER
    assert store.blobs.ranges(layer).read_at(10, 20) == LAYER[10:30]


def test_a_layout_of_docker_has_a_manifest_made_for_it(store, tmp_path):
    path = archive(tmp_path, (*DOCKER, file("a/layer.tar", LAYER)))
    found = taken(store, f"docker-archive:{path}:app:1")
    assert (found.layers[0].digest, found.layers[0].size) == (digests.of(LAYER), len(LAYER))
    assert found.config.digest == digests.of(CONFIG)


@pytest.mark.parametrize("link", [symlink("a/layer.tar", "../b/x"), hardlink("a/layer.tar", "b/x")])
def test_links_of_older_dockers_are_followed_inside(store, tmp_path, link):
    path = archive(tmp_path, (*DOCKER, file("b/x", LAYER), link))
    assert taken(store, f"docker-archive:{path}").layers[0].digest == digests.of(LAYER)


def test_a_packed_layer_of_docker_is_named_by_its_own_digest(store, tmp_path):
    packed = gzip.compress(LAYER)
    path = archive(tmp_path, (*DOCKER, file("a/layer.tar", packed)))
    found = taken(store, f"docker-archive:{path}").layers[0]
    assert found.digest == digests.of(packed)
    assert found.media_type.endswith("gzip")


def test_a_layout_beside_manifest_json_wins_for_its_annotations(store, tmp_path):
    said = [
        {
            "Config": f"blobs/sha256/{digests.of(CONFIG)[7:]}",
            "Layers": [f"blobs/sha256/{digests.of(LAYER)[7:]}"],
            "RepoTags": None,
        }
    ]
    path = archive(tmp_path, (*LAYOUT, file("manifest.json", json.dumps(said).encode())))
    local = transports.parse(f"docker-archive:{path}")
    assert take_over(store, local) == digests.of(MANIFEST)


def test_one_of_several_is_named_or_counted(store, tmp_path):
    other = manifest_of(config=CONFIG + b" ")
    index = file("index.json", index_of(one=MANIFEST, two=other))
    entries = (index, blob(MANIFEST), blob(other), blob(CONFIG), blob(CONFIG + b" "), blob(LAYER))
    path = archive(tmp_path, entries)
    for wanted in ("two", "@1", digests.of(other)):
        assert take_over(store, transports.parse(f"oci-archive:{path}:{wanted}")) == digests.of(
            other
        )
    for wanted in ("", ":three", ":@2"):
        with pytest.raises(UsageError, match=r"no such image|it has 2 images"):
            take_over(store, transports.parse(f"oci-archive:{path}{wanted}"))


def test_a_packed_archive_is_copied(store, tmp_path):
    path = archive(tmp_path, gzip.compress(tar(LAYOUT)))
    assert store.blobs.keeps(taken(store, f"oci-archive:{path}").layers[0].digest)
    assert not list((store.root / "tmp").glob("archive-*"))


def test_a_file_that_changed_has_no_blob_any_more(store, tmp_path):
    path = archive(tmp_path, LAYOUT)
    layer = taken(store, f"oci-archive:{path}").layers[0].digest
    os.utime(path, (1, 1))
    assert not store.blobs.has(layer)
    assert str(path) in str(store.blobs.lost(layer))
    with pytest.raises(FileNotFoundError):
        store.blobs.open(layer)
    taken(store, f"oci-archive:{path}")
    assert store.blobs.has(layer)


# --- archives that lie ---------------------------------------------------------------------------

WRONG = bytes(len(LAYER))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ((), "there is no index.json"),
        ((file("index.json", b"[" * 100_000),), "."),
        ((file("index.json", b" " * (5 << 20)),), "4 MiB"),
        ((file("index.json", index_of()),), "there is no blobs"),
        ((*LAYOUT[:1], file(f"blobs/sha256/{digests.of(MANIFEST)[7:]}", b"{}")), "is sha256:"),
        (LAYOUT[:3], "lacks the layer"),
        ((*LAYOUT[:3], file(f"blobs/sha256/{digests.of(LAYER)[7:]}", WRONG)), "is sha256:"),
        ((*LAYOUT[:3], file(f"blobs/sha256/{digests.of(LAYER)[7:]}", b"short")), "has 5 bytes"),
        ((*LAYOUT, file("../x", b"")), "leaves"),
        ((file("a/../../x", b""), *LAYOUT), "leaves"),
        ((fifo("index.json"),), "there is no index.json"),
        ((symlink("index.json", "/etc/passwd"),), "there is no index.json"),
        ((symlink("index.json", "../../etc/passwd"),), "there is no index.json"),
        ((symlink("index.json", "b"), symlink("b", "index.json")), "circle"),
    ],
)
def test_a_layout_that_lies_is_refused(store, tmp_path, entries, said):
    path = archive(tmp_path, entries)
    with pytest.raises(LazybuildError, match=said) as error:
        take_over(store, transports.parse(f"oci-archive:{path}"))
    assert len(str(error.value)) < 500
    assert not store.blobs.has(digests.of(LAYER))


@pytest.mark.parametrize(
    "said",
    [
        b"{}",
        b'[{"Config":1}]',
        b'[{"Config":"c.json","Layers":[1]}]',
        b'[{"Config":"c.json","Layers":{}}]',
        b'[{"Config":"c.json","Layers":[]}]',
        b'[{"Config":"../c.json","Layers":[]}]',
        b'[{"Config":"c.json","Layers":["/etc/passwd"]}]',
        b"[" * 50_000,
        b"\xff",
        b"null",
    ],
)
def test_a_manifest_json_that_lies_is_refused(store, tmp_path, said):
    entries = (file("manifest.json", said), file("c.json", CONFIG), file("a/layer.tar", LAYER))
    path = archive(tmp_path, entries)
    with pytest.raises(LazybuildError):
        take_over(store, transports.parse(f"docker-archive:{path}"))


def test_a_plain_layer_that_is_not_its_diff_id_is_refused(store, tmp_path):
    path = archive(tmp_path, (*DOCKER, file("a/layer.tar", tar([file("other")]))))
    with pytest.raises(LazybuildError, match="is sha256:"):
        take_over(store, transports.parse(f"docker-archive:{path}"))


@pytest.mark.parametrize("cut", [100, 600, 5000])
def test_an_archive_that_ends_early_is_refused(store, tmp_path, cut):
    path = archive(tmp_path, tar(LAYOUT)[:cut])
    with pytest.raises(LazybuildError):
        take_over(store, transports.parse(f"oci-archive:{path}"))


def test_a_size_beyond_the_end_is_refused(store, tmp_path):
    data = bytearray(tar(LAYOUT))
    data[124:136] = b"77777777777\0"
    data[148:156] = b"%06o\0 " % sum(data[:148] + b" " * 8 + data[156:512])
    path = archive(tmp_path, bytes(data))
    with pytest.raises(LazybuildError, match="ends early"):
        take_over(store, transports.parse(f"oci-archive:{path}"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_only_a_regular_file_is_an_archive(store, tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(UsageError):
        take_over(store, transports.parse(f"oci-archive:{tmp_path}/x"))


def test_the_index_is_parsed_only_to_a_bounded_depth(store, tmp_path):
    document, blobs = MANIFEST, [blob(MANIFEST), blob(CONFIG), blob(LAYER)]
    for _ in range(6):
        document = index_of(document)
        blobs.append(blob(document))
    path = archive(tmp_path, (file("index.json", index_of(document)), *blobs))
    take_over(store, transports.parse(f"oci-archive:{path}"))
    assert not store.blobs.has(digests.of(LAYER))


def test_a_hostile_archive_can_not_shadow_a_blob_of_another_image(store, tmp_path):
    lie = file(f"blobs/sha256/{digests.of(LAYER)[7:]}", WRONG)
    bad = archive(tmp_path, (*LAYOUT[:3], lie), "bad.tar")
    with pytest.raises(LazybuildError):
        take_over(store, transports.parse(f"oci-archive:{bad}"))
    good = archive(tmp_path, LAYOUT, "good.tar")
    layer = taken(store, f"oci-archive:{good}").layers[0].digest
    with store.blobs.open(layer) as found:
        assert hashlib.sha256(found.read()).hexdigest() == layer[7:]


def test_a_bomb_is_no_archive(store, tmp_path, monkeypatch):
    from lazybuild.estargz import streams  # noqa: PLC0415 - for its bounds

    monkeypatch.setattr(
        "lazybuild.sources.tarfiles.Caps", lambda **_: streams.Caps(ratio=10, free=1 << 20)
    )
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as packed:
        packed.write(bytes(8 << 20))
    path = archive(tmp_path, out.getvalue())
    with pytest.raises(LazybuildError, match="times its packed size"):
        take_over(store, transports.parse(f"oci-archive:{path}"))
    assert not list((store.root / "tmp").glob("archive-*"))


def test_a_dockerfile_names_files_of_its_context_only(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "out.tar").touch()
    (root / "in.tar").touch()
    (root / "link.tar").symlink_to(tmp_path / "out.tar")
    assert transports.inside("oci-archive:sub/../in.tar", root).path.resolve() == root / "in.tar"
    assert transports.inside("debian", None) is None
    for text in ("link.tar", "../out.tar", str(tmp_path / "out.tar")):
        with pytest.raises(UsageError, match="not in the build context"):
            transports.inside(f"oci-archive:{text}", root)
    with pytest.raises(UsageError, match="not in the build context"):
        transports.inside("oci-archive:in.tar", None)
