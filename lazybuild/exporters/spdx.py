"""A list of packages as an SPDX 2.3 document. Pure; the same list gives the same document.

Spec: spdx.github.io/spdx-spec/v2.3. Licences are not looked into: NOASSERTION, but for what the
package database itself declares.
"""

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from lazybuild.exporters.packages import Inventory, Package

PREDICATE = "https://spdx.dev/Document"
NONE = "NOASSERTION"
_EXPRESSION = re.compile(r"[A-Za-z0-9.+() -]{1,200}\Z")


def document(found: Inventory, name: str, *, created: str, creator: str) -> Mapping[str, object]:
    """`created` is RFC 3339 text."""
    packages = [_package(package, found) for package in found.packages]
    root = {
        "SPDXID": "SPDXRef-DocumentRoot",
        "name": name,
        "downloadLocation": NONE,
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
        "licenseConcluded": NONE,
        "licenseDeclared": NONE,
        "copyrightText": NONE,
    }
    text: dict[str, object] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:lazybuild:sbom:{_identity(found, name)}",
        "creationInfo": {"created": created, "creators": [f"Tool: {creator}"]},
        "packages": [root, *packages],
        "relationships": [
            _related("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-DocumentRoot"),
            *(_related("SPDXRef-DocumentRoot", "CONTAINS", p["SPDXID"]) for p in packages),
        ],
    }
    if found.unread:
        text["comment"] = (
            f"Not listed, since their databases were not read: {', '.join(found.unread)}"
        )
    return text


def _package(package: Package, found: Inventory) -> dict[str, object]:
    url = purl(package, found)
    expression = package.license if _EXPRESSION.match(package.license) else NONE
    return {
        "SPDXID": f"SPDXRef-Package-{hashlib.sha256(url.encode()).hexdigest()[:16]}",
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": NONE,
        "filesAnalyzed": False,
        "licenseConcluded": NONE,
        "licenseDeclared": expression,
        "copyrightText": NONE,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": url,
            }
        ],
    }


def purl(package: Package, found: Inventory) -> str:
    """`pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-12` (package-url spec)."""
    vendor = found.vendor or {"deb": "debian", "apk": "alpine"}[package.kind]
    facts = {
        "arch": package.architecture,
        "distro": found.distro,
        "upstream": package.source if package.source != package.name else "",
    }
    query = urlencode({key: value for key, value in facts.items() if value})
    path = f"{quote(vendor)}/{quote(package.name, safe='')}@{quote(package.version, safe='')}"
    return f"pkg:{package.kind}/{path}{'?' if query else ''}{query}"


def _related(one: object, how: str, other: object) -> dict[str, object]:
    return {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}


def _identity(found: Inventory, name: str) -> str:
    lines = [name, *(purl(package, found) for package in found.packages)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
