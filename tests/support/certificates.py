"""Certificates for loopback, made by openssl: an authority and a server pair for 127.0.0.1."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """`server` holds key and certificate in one PEM file; `authority` is what a client trusts."""

    server: Path
    authority: Path


def make(folder: Path) -> Certificates:
    key, certificate, server = (folder / name for name in ("key.pem", "ca.crt", "server.pem"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=loopback"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    server.write_bytes(key.read_bytes() + certificate.read_bytes())
    return Certificates(server=server, authority=certificate)
