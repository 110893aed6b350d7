"""Which packages a tree has, and what is said of them."""

import pytest
from support.trees import MemTree

from lazybuild.exporters import packages, spdx
from lazybuild.exporters.packages import Package

STATUS = b"""\
Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b7
Description: a shell
 Version: 9 of a continuation line

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.36)
Version: 2.36-9
"""
RELEASE = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian"\n'
APK = b"C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\n\nP:busybox\nV:1.36\nL:GPL-2.0-only\n"


def test_debian_packages_are_those_that_are_installed():
    found = packages.inventory(MemTree({packages.DPKG: STATUS, "etc/os-release": RELEASE}))
    assert found.packages == (
        Package(kind="deb", name="bash", version="5.2.15-2+b7", architecture="amd64"),
        Package(kind="deb", name="libc6", version="2.36-9", architecture="amd64", source="glibc"),
    )
    assert (found.distro, found.unread) == ("debian-12", ())


def test_databases_of_other_makes():
    tree = MemTree(
        {
            "lib": "->usr/lib",
            "usr/lib/apk/db/installed": APK,
            "var/lib/dpkg/status.d/base": b"Package: base\nVersion: 12\nArchitecture: all\n",
            "var/lib/dpkg/status.d/base.md5sums": b"Package: no\nVersion: 1\n",
            "var/lib/rpm/rpmdb.sqlite": b"x",
        }
    )
    found = packages.inventory(tree)
    assert [(p.kind, p.name, p.license) for p in found.packages] == [
        ("apk", "busybox", "GPL-2.0-only"),
        ("apk", "musl", "MIT"),
        ("deb", "base", ""),
    ]
    assert found.unread == ("var/lib/rpm",)


@pytest.mark.parametrize(
    "files",
    [
        {packages.DPKG: b"Package: \x1b[31m\nStatus: a installed\nVersion: 1\n"},
        {packages.DPKG: b"Package: x\nStatus: a installed\nVersion: 1\t2 &;\n"},
        {packages.DPKG: b"\xff\xfe" * 1000},
        {packages.DPKG: b":" * 1000},
        {packages.DPKG: "->/var/lib/dpkg/status"},
        {packages.DPKG: "->../../../../../../etc/shadow"},
        {packages.DPKG: None},
        {},
    ],
)
def test_what_makes_no_sense_is_no_package(files):
    assert packages.inventory(MemTree(files)).packages == ()


def test_a_document_names_each_package_once_and_is_the_same_each_time():
    found = packages.inventory(
        MemTree({packages.DPKG: STATUS + b"\n" + STATUS, "etc/os-release": RELEASE})
    )
    made = spdx.document(found, "demo", created="2023-11-14T22:13:20Z", creator="lazybuild-1")
    assert made == spdx.document(
        found, "demo", created="2023-11-14T22:13:20Z", creator="lazybuild-1"
    )
    assert made["spdxVersion"] == "SPDX-2.3"
    locators = [p["externalRefs"][0]["referenceLocator"] for p in made["packages"][1:]]
    assert locators == [
        "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12&upstream=glibc",
    ]
    ids = [package["SPDXID"] for package in made["packages"]]
    assert len(set(ids)) == len(ids)
    assert {r["relatedSpdxElement"] for r in made["relationships"]} <= {*ids}


def test_what_could_not_be_read_is_said():
    found = packages.inventory(MemTree({"usr/lib/sysimage/rpm/x": b""}))
    made = spdx.document(found, "demo", created="", creator="x")
    assert "usr/lib/sysimage/rpm" in made["comment"]
