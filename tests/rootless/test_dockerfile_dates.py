"""SOURCE_DATE_EPOCH through whole builds: the same image in any store, whatever names the time."""

import gzip
import io
import json
import tarfile

import pytest
from support.building import Builder
from support.repositories import Repositories
from support.web import Answer, web

pytestmark = pytest.mark.rootless

EPOCH = 1_500_000_000
EARLIER = EPOCH - 1000


class Stores:
    """Empty stores, as many as are asked for."""

    def __init__(self, folder):
        self.folder = folder
        self.number = 0

    def new(self, **environment):
        self.number += 1
        return Builder(self.folder / str(self.number), **environment)


@pytest.fixture
def stores(tmp_path):
    return Stores(tmp_path)


def files(text):
    return {"Dockerfile": text, "sub/a": "a", "sub/deep/b": "b"}


def text(base):
    return f"""\
FROM {base}
WORKDIR /w
COPY sub /made/sub/
RUN cat /made/sub/a > /r && mkdir /d && touch /d/x && ln /r /d/r
RUN cat /r /made/sub/deep/b && rm /d/x
"""


def image(path):
    """(config, the times of what the layers made here hold)."""
    with tarfile.open(path) as found:
        read = {item.name: found.extractfile(item).read() for item in found if item.isfile()}

    def blob(descriptor):
        return read["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]

    manifest = json.loads(blob(json.loads(read["index.json"])["manifests"][0]))
    times = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(layer)))) as tar:
            times |= {member.name.rstrip("/"): member.mtime for member in tar}
    return json.loads(blob(manifest["config"])), times


def built(builder, context, *flags):
    target = builder.folder / "image.tar"
    run = builder.build(context, "-t", "x", "-o", f"type=oci,dest={target}", *flags)
    return (run.digest, *image(target))


def test_two_empty_stores_make_the_same_image(stores, base):
    first = built(stores.new(SOURCE_DATE_EPOCH=str(EPOCH)), files(text(base)))
    other = built(stores.new(), files(text(base)), "--source-date-epoch", str(EPOCH))
    third = built(stores.new(), files(text(base)), "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}")
    assert first == other == third
    _, config, times = first
    assert config["created"] == "2017-07-14T02:40:00Z"
    own = ("w", "made", "made/sub", "made/sub/a", "made/sub/deep/b", "r", "d", "d/r")
    assert {times[name] for name in own} == {EPOCH}


@pytest.mark.parametrize("epoch", [EPOCH, EARLIER])
def test_what_is_cached_with_other_times_is_dated_anew(stores, base, epoch):
    warm = stores.new()
    context = warm.context(files(text(base)))
    without = built(warm, context)
    assert max(without[2].values()) > EPOCH
    built(warm, context, "--source-date-epoch", str(EPOCH))
    expected = built(stores.new(), context, "--source-date-epoch", str(epoch))
    again = built(warm, context, "--source-date-epoch", str(epoch))
    assert again == expected
    assert built(warm, context) == without


def test_times_of_files_stay_when_that_is_asked_for(stores, base):
    flags = ("--source-date-epoch", str(EPOCH), "--no-rewrite-timestamp")
    _, config, times = built(stores.new(), files(text(base)), *flags)
    assert config["created"] == "2017-07-14T02:40:00Z"
    assert times["made/sub/a"] > EPOCH


def test_the_epoch_is_an_argument_like_any_other(stores, base):
    lines = f"FROM {base}\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /e\nCOPY sub /s\n"
    builder = stores.new(SOURCE_DATE_EPOCH=str(EPOCH))
    _, config, _ = built(builder, files(lines))
    assert config["history"][-3]["created_by"] == f"ARG SOURCE_DATE_EPOCH={EPOCH}"
    default = lines.replace("FROM", f"ARG SOURCE_DATE_EPOCH={EARLIER}\nFROM", 1)
    _, _, times = built(stores.new(), files(default))
    assert times["s/a"] == EARLIER
    _, _, times = built(builder, files(default))
    assert times["s/a"] == EPOCH
    _, _, times = built(builder, files(default), "--build-arg", "SOURCE_DATE_EPOCH=")
    assert times["s/a"] > EPOCH


def test_a_word_that_names_no_source_is_refused(stores):
    context = files("FROM scratch\nCOPY sub /\n")
    run = stores.new().build(context, "--build-arg", "SOURCE_DATE_EPOCH=noon", expect=1)
    assert "invalid SOURCE_DATE_EPOCH: noon" in run.err


# --- the time of a source ------------------------------------------------------------------------


def archive(when):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in {"Dockerfile": b"FROM scratch\nCOPY a /a\n", "a": b"a"}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), when if name == "a" else when - 5
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


CONTEXT = ("--build-arg", "SOURCE_DATE_EPOCH=context")


def test_of_a_url(stores):
    with web() as site:
        dated = {"Last-Modified": "Fri, 14 Jul 2017 02:40:00 GMT"}
        site.answers["/dated.tar"] = Answer(archive(EPOCH + 500), headers=dated)
        site.answers["/plain.tar"] = Answer(archive(EPOCH - 1))
        _, config, times = built(stores.new(), f"{site.url}/dated.tar", *CONTEXT)
        assert (config["created"], times["a"]) == ("2017-07-14T02:40:00Z", EPOCH)
        _, config, _ = built(stores.new(), f"{site.url}/plain.tar", *CONTEXT)
        assert config["created"] == "2017-07-14T02:39:59Z"


def test_of_an_archive_on_standard_input(stores):
    builder = stores.new()
    builder.folder.mkdir()
    target = builder.folder / "image.tar"
    process = builder.start(
        "build", "-o", f"type=oci,dest={target}", *CONTEXT, "-", stdin_bytes=b"yes"
    )
    _, err = process.communicate(archive(EPOCH), timeout=60)
    assert process.returncode == 0, err
    assert image(target)[0]["created"] == "2017-07-14T02:40:00Z"


def test_of_a_repository_and_of_a_stage_that_has_one(stores, tmp_path):
    with Repositories(tmp_path / "git") as git:
        url = git.make("one", {"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"}, when=EPOCH)
        _, config, times = built(stores.new(), url, *CONTEXT)
        assert (config["created"], times["a"]) == ("2017-07-14T02:40:00Z", EPOCH)
        lines = f"FROM scratch AS src\nADD {url}#main /\nFROM scratch\nCOPY --from=src a /a\n"
        named = ("--build-arg", "SOURCE_DATE_EPOCH=src")
        _, config, times = built(stores.new(), {"Dockerfile": lines}, *named)
    assert (config["created"], times["a"]) == ("2017-07-14T02:40:00Z", EPOCH)
