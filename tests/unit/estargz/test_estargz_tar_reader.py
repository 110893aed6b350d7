"""The streaming tar reader against archives of Python, GNU tar and attackers (list 4.2, A)."""

import io
import subprocess
import tarfile
import time

import pytest
from support.layers import content

from lazybuild.errors import IntegrityError
from lazybuild.estargz import names, tar
from lazybuild.estargz.entry import Kind

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def info(name="a", kind=tarfile.REGTYPE, **fields):
    found = tarfile.TarInfo(name)
    found.type = kind
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def archive(*members, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for member, data in members:
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return out.getvalue()


def read(data, **limits):
    return [
        (item.entry, content(item)) for item in tar.read(io.BytesIO(data), tar.Limits(**limits))
    ]


def patched(data, at, value, header=0):
    """One header field overwritten, the checksum mended."""
    block = bytearray(data)
    block[header + at : header + at + len(value)] = value
    block[header + 148 : header + 156] = b" " * 8
    total = sum(block[header : header + 512])
    block[header + 148 : header + 156] = b"%06o\0 " % total
    return bytes(block)


def refused(data, match=None, **limits):
    with pytest.raises(IntegrityError, match=match):
        read(data, **limits)


@pytest.mark.parametrize("form", FORMATS)
def test_what_python_writes(form):
    members = [
        (info("d", tarfile.DIRTYPE, mode=0o1777), b""),
        (info("d/file", mode=0o4755, uid=1000, gid=7, mtime=12, uname="u", gname="g"), b"x" * 700),
        (info("d/empty"), b""),
        (info("d/soft", tarfile.SYMTYPE, linkname="../there"), b""),
        (info("d/hard", tarfile.LNKTYPE, linkname="./d/file"), b""),
        (info("c", tarfile.CHRTYPE, devmajor=1, devminor=5), b""),
        (info("b", tarfile.BLKTYPE, devmajor=8, devminor=0), b""),
        (info("p", tarfile.FIFOTYPE), b""),
    ]
    seen = {entry.name: (entry, data) for entry, data in read(archive(*members, form=form))}
    entry, data = seen["d/file"]
    assert data == b"x" * 700
    assert (entry.mode, entry.uid, entry.gid, entry.uname) == (0o4755, 1000, 7, "u")
    assert entry.mtime == 12_000_000_000
    assert seen["d"][0].kind is Kind.DIR
    assert seen["d/hard"][0].link == "d/file"
    assert seen["d/soft"][0].link == "../there"
    assert (seen["c"][0].major, seen["c"][0].minor) == (1, 5)
    assert [seen[name][0].kind for name in "cbp"] == [Kind.CHAR, Kind.BLOCK, Kind.FIFO]


@pytest.mark.parametrize("form", FORMATS[1:])
@pytest.mark.parametrize("length", [99, 100, 101, 256, 1000])
def test_long_names_and_targets(form, length):
    name = "/".join(["n" * 49] * (length // 50)) + "/" + "z" * (length % 50 or 1)
    members = [(info(name), b"x"), (info("l", tarfile.SYMTYPE, linkname=name), b"")]
    found = read(archive(*members, form=form))
    assert [found[0][0].name, found[1][0].link] == [name, name]


def test_pax_carries_xattrs_times_and_big_ids():
    member = info("a", uid=3_000_000, mtime=1.75)
    member.pax_headers = {"SCHILY.xattr.user.k": "v\0w", "SCHILY.xattr.trusted.overlay.opaque": "y"}
    entry = read(archive((member, b"")))[0][0]
    assert dict(entry.xattrs) == {"user.k": b"v\0w"}
    assert (entry.uid, entry.mtime) == (3_000_000, 1_000_000_000)


def test_capabilities_of_a_foreign_namespace_become_plain_ones():
    value = b"\x01\0\0\x03" + bytes(range(16)) + b"\x10\x27\0\0"
    assert names.sane_xattrs("a", {"security.capability": value}) == {
        "security.capability": b"\x01\0\0\x02" + bytes(range(16))
    }


@pytest.mark.parametrize("args", [[], ["--format=gnu"], ["--format=pax", "--sparse-version=0.0"]])
def test_sparse_files_of_gnu_tar(tmp_path, args):
    sparse(tmp_path, ["--format=gnu", *args])


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_sparse_files_of_pax(tmp_path, version):
    sparse(tmp_path, ["--format=pax", f"--sparse-version={version}"])


def sparse(tmp_path, args):
    with (tmp_path / "s").open("wb") as made:
        for at in range(60):
            made.seek(at * 131072)
            made.write(b"%d" % at * 1000)
        made.truncate(60 * 131072 + 5)
    (tmp_path / "t").write_bytes(b"after")
    command = ["tar", "-S", *args, "-cf", "-", "-C", str(tmp_path), "s", "t"]
    data = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    assert len(data) < 60 * 131072
    found = read(data)
    assert [entry.name for entry, _ in found] == ["s", "t"]
    assert found[0][1] == (tmp_path / "s").read_bytes()
    assert found[1][1] == b"after"


def test_a_sparse_map_of_an_exbibyte():
    member = info("a")
    member.pax_headers = {"GNU.sparse.size": str(1 << 60), "GNU.sparse.map": ""}
    refused(archive((member, b"")), "sparse map")
    member.pax_headers = {"GNU.sparse.size": "10", "GNU.sparse.map": "5,9"}
    refused(archive((member, b"123456789")), "sparse map")
    member.pax_headers = {"GNU.sparse.size": "20", "GNU.sparse.map": "5,4,7,5"}
    refused(archive((member, b"123456789")), "overlaps")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "9"}
    refused(archive((member, b"9999999\n" * 64)), "sparse map")


def test_names_outside_are_refused_and_absolute_ones_are_inside():
    for name in ("../x", "a/../../x", "x/.."):
        refused(archive((info(name), b"")), "leaves the layer")
    assert read(archive((info("//etc/./x/"), b"")))[0][0].name == "etc/x"
    refused(archive((info("h", tarfile.LNKTYPE, linkname="../../host"), b"")), "leaves")
    member = info("a")
    member.pax_headers = {"path": "../x"}
    refused(archive((member, b"")), "leaves")


def test_names_that_no_file_system_holds():
    refused(archive((info("n" * 256), b"")), "too long")
    refused(archive((info("/".join(["d" * 200] * 25)), b"")), "too long")
    member = info("a")
    member.pax_headers = {"path": "a\0b"}
    refused(archive((member, b"")), "NUL")
    refused(archive((info("."), b"")), "without a name")


def test_bytes_of_names_are_kept():
    name = b"\xff\n\x01\xfe".decode("utf-8", "surrogateescape")
    found = read(archive((info(name), b""), form=tarfile.GNU_FORMAT))
    assert found[0][0].name.encode("utf-8", "surrogateescape") == b"\xff\n\x01\xfe"


BASE = archive((info("a"), b"hello"))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (124, b"\xff" * 12),  # size -1
        (124, b"\x80" + b"\x7f" + b"\xff" * 10),  # size near 2**87
        (124, b"77777777777\0"),  # 8 GiB and nothing behind it
        (124, b"9x         \0"),
        (108, b"\xff" * 8),  # uid -1
        (108, b"\x80\0\0\0\xff\xff\xff\xff"),  # uid 2**32-1
        (116, b"\x80\0\0\1\0\0\0\0"),
        (156, b"Z"),
        (156, b"M"),
    ],
)
def test_numbers_and_types_out_of_range(at, value):
    refused(patched(BASE, at, value))


@pytest.mark.parametrize("value", [b"\x80" + b"\x40" * 11, b"\xff" * 12, b"77777777777\0"])
def test_times_are_clamped(value):
    entry = read(patched(BASE, 136, value))[0][0]
    assert 0 <= entry.mtime <= names.MAX_SECONDS * 1_000_000_000


@pytest.mark.parametrize("text", ["1e18", "nan", "--1", "9" * 30])
def test_pax_times_that_are_no_number(text):
    member = info("a")
    member.pax_headers = {"mtime": text}
    refused(archive((member, b"")))


@pytest.mark.parametrize("text", ["-1", "+5", "1" * 25, "0x10", ""])
def test_pax_sizes_that_are_no_size(text):
    member = info("a")
    member.pax_headers = {"uid": text}
    data = archive((member, b""))
    if text:
        refused(data)
    else:
        assert read(data)[0][0].uid == 0


def test_pax_size_rules_over_the_header():
    body = b"10 size=3\n"
    data = archive((info("x", b"x"), body), (info("a"), b"abc"), form=tarfile.USTAR_FORMAT)
    data = patched(data, 124, b"00000000000\0", header=1024)
    assert read(data)[0][1] == b"abc"


@pytest.mark.parametrize(
    "body",
    [b"5 a=\n9", b"x", b"0 a=b\n", b"99 a=b\n", b"6 a=bc", b"6 abc\n", b"5 =b\n", b"-6 a=b\n"],
)
def test_malformed_pax_records(body):
    data = archive((info("x", b"x"), body), (info("a"), b""), form=tarfile.USTAR_FORMAT)
    refused(data, "PAX")


def test_a_pax_header_of_two_megabytes():
    data = patched(archive((info("x", b"x"), b"")), 124, b"%011o\0" % (2 << 20))
    refused(data + bytes(3 << 20), "too large")


def test_an_archive_that_ends_early():
    for cut in (1, 511, 513, 516):
        refused(BASE[:cut])
    assert read(BASE[:1024]) == read(BASE)
    refused(BASE[:1024] + bytes(512) + BASE[:512], "lone zero block")
    data = archive((info("x", b"x"), b"5 a=b\n"[:0]), form=tarfile.USTAR_FORMAT)[:512]
    assert read(data) == []


def test_what_follows_the_end_is_not_looked_at():
    assert read(BASE + b"garbage") == read(BASE)
    assert [e.name for e, _ in read(BASE + archive((info("evil"), b"")))] == ["a"]


def test_a_header_with_a_wrong_checksum():
    refused(b"\1" + BASE[1:], "checksum")
    refused(b"\x1f\x8b" * 512, "tar header|no number")


def test_limits_hold():
    many = archive(*[(info(str(n)), b"xy") for n in range(5)])
    refused(many, "larger than allowed", entries=4)
    refused(many, "larger than allowed", total_size=9)
    refused(many, "larger than allowed", file_size=1)
    assert len(read(many, entries=5, total_size=10, file_size=2)) == 5


def test_payload_must_be_read_before_the_next_item():
    data = archive((info("a"), b"first"), (info("b"), b"second"))
    kept = [item.open() for item in tar.read(io.BytesIO(data))]
    with pytest.raises(ValueError, match="passed"):
        kept[0].read()


def test_unread_and_half_read_payload_is_skipped():
    data = archive((info("a"), b"first" * 1000), (info("b"), b"second" * 500), (info("c"), b"3"))
    items = tar.read(io.BytesIO(data))
    assert [item.open().read(3) if item.entry.name > "a" else b"" for item in items] == [
        b"",
        b"sec",
        b"3",
    ]


class Drip(io.RawIOBase):
    """A stream that can't seek and gives little at a time."""

    def __init__(self, data):
        self.inner = io.BytesIO(data)

    def readable(self):
        return True

    def read(self, size=-1):
        return self.inner.read(min(size, 7))


def test_a_stream_that_gives_less_than_asked():
    data = archive((info("a" * 150), b"first" * 1000), (info("b"), b"second"))
    seen = [(item.entry, content(item)) for item in tar.read(Drip(data))]
    assert seen == read(data)


def test_global_headers_are_passed_over():
    head = archive((info("g", b"g"), b"20 path=not/this/one\n"[:21]), form=tarfile.USTAR_FORMAT)
    data = head[:1024] + BASE
    data = data.replace(b"20 path=not/this/one\n", b"21 path=not/this/one\n")
    assert read(data) == read(BASE)


def test_links_of_header_only_types_have_no_payload():
    data = archive((info("l", tarfile.LNKTYPE, linkname="x"), b""), (info("b"), b"2"))
    assert [e.name for e, _ in read(patched(data, 124, b"%011o\0" % 100))] == ["l", "b"]


def test_a_pax_header_of_a_hundred_thousand_records_is_quick():
    body = b"6 a=b\n" * 170_000
    data = archive((info("x", b"x"), body), (info("a"), b""), form=tarfile.USTAR_FORMAT)
    start = time.thread_time()
    assert len(read(data)) == 1
    assert time.thread_time() - start < 5


def test_a_sparse_map_of_a_hundred_thousand_lines_is_quick():
    count = 100_000
    lines = b"%d\n" % count + b"".join(b"%d\n0\n" % n for n in range(count))
    member = info("a")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": str(count)}
    start = time.thread_time()
    found = read(archive((member, lines + bytes(-len(lines) % 512))))
    assert found[0][1] == bytes(count)
    assert time.thread_time() - start < 5
