"""Images as writers before eStargz made them: a table of contents without digests of pieces, a
footer of 47 bytes, and no annotation anywhere. Source: google/crfs, stargz/stargz.go.
"""

import gzip
import hashlib
import io
import json
import tarfile

from lazybuild.oci import codec
from lazybuild.oci import digest as digests
from lazybuild.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, Descriptor
from lazybuild.oci.image import ContainerConfig, ImageConfig, Manifest

KINDS = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink"}


def footer(offset):
    tail = b"\x01\0\0\xff\xff" + bytes(8)
    return b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x16\0" + b"%016xSTARGZ" % offset + tail


def stargz(archive, *, chunk=4 << 20):
    """The layer of a tar file."""
    out, plain, entries = bytearray(), bytearray(), []

    def close():
        nonlocal plain
        if plain:
            out.extend(gzip.compress(bytes(plain), 9, mtime=0))
        plain = bytearray()

    with tarfile.open(archive) as tar:
        for member in tar:
            plain += member.tobuf()
            entry = {"name": member.name, "type": KINDS.get(member.type, "reg"), "NumLink": 0}
            entry |= {"mode": member.mode, "linkName": member.linkname}
            data = tar.extractfile(member).read() if member.isreg() else b""
            entries.append(entry)
            if data:
                whole = f"sha256:{hashlib.sha256(data).hexdigest()}"
                entry |= {"size": len(data), "digest": whole}
            for at in range(0, len(data), chunk):
                close()
                piece = entry if not at else {"name": member.name, "type": "chunk"}
                piece |= {"offset": len(out), "chunkOffset": at}
                if len(data) > chunk:
                    piece["chunkSize"] = min(chunk, len(data) - at)
                entries.extend([piece] if at else [])
                plain += data[at : at + chunk]
            plain += bytes(-len(data) % 512)
    close()
    return bytes(out) + _toc(entries) + footer(len(out))


def _toc(entries):
    return _toc_member(json.dumps({"version": 1, "entries": entries}).encode())


def _toc_member(text):
    info = tarfile.TarInfo("stargz.index.json")
    info.size = len(text)
    return gzip.compress(info.tobuf() + text + bytes(-len(text) % 512) + bytes(1024), mtime=0)


def without_toc(blob, found):
    """An eStargz layer whose TOC lies elsewhere: its data and the footer that says so."""
    tail = b"\x01\0\0\xff\xff" + bytes(8)
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x15\0SG\x11\0"
    return blob[: found.data_end] + head + b"STARGZEXTERNALTOC" + tail


def push_toc(registry, repository, layer, text, tag="1-esgztoc"):
    """The image beside `repository` that holds the TOC of a layer."""
    data = _toc_member(text)
    item = Descriptor(
        media_type=OCI_LAYER_GZIP,
        digest=digests.of(data),
        size=len(data),
        annotations={"containerd.io/snapshot/stargz/layer.digest": digests.of(layer)},
    )
    config = Descriptor(media_type=OCI_CONFIG, digest=digests.of(b"{}"), size=2)
    registry.put_blob(repository, data)
    registry.put_blob(repository, b"{}")
    manifest = Manifest(config=config, layers=(item,))
    registry.put_manifest(repository, codec.encode(manifest), tag=tag)


def push(registry, repository, blob, tag="1", annotations=None):
    """An image with this one layer; its manifest says nothing of a table of contents, unless
    `annotations` do.
    """
    plain = io.BytesIO(gzip.decompress(blob)).read()
    config = codec.encode(
        ImageConfig(
            os="linux",
            architecture="amd64",
            config=ContainerConfig(env=("PATH=/bin",)),
            diff_ids=(digests.of(plain),),
        )
    )
    manifest = Manifest(
        config=Descriptor(media_type=OCI_CONFIG, digest=digests.of(config), size=len(config)),
        layers=(
            Descriptor(
                media_type=OCI_LAYER_GZIP,
                digest=digests.of(blob),
                size=len(blob),
                annotations=annotations or {},
            ),
        ),
    )
    registry.put_blob(repository, blob)
    registry.put_blob(repository, config)
    registry.put_manifest(repository, codec.encode(manifest), tag=tag)
    return f"{registry.host}/{repository}:{tag}"
