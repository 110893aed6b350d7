"""OCI values as JSON, byte for byte as Go's encoding/json writes the structs of the image spec.

Compact, fields in the order of specs-go/v1, `omitempty` dropped, map keys sorted, and `<`, `>`,
`&`, U+2028, U+2029 and broken UTF-8 escaped. Pure.
"""

import json
import re
from collections.abc import Iterable, Mapping

from lazybuild.oci.descriptor import Descriptor
from lazybuild.oci.image import (
    ContainerConfig,
    Healthcheck,
    History,
    ImageConfig,
    Index,
    Manifest,
)

_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")
_ESCAPED = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def encode(value: Manifest | Index | ImageConfig | Descriptor) -> bytes:
    match value:
        case Manifest():
            return dumps(_manifest(value))
        case Index():
            return dumps(_index(value))
        case ImageConfig():
            return dumps(_config(value))
        case Descriptor():
            return dumps(_descriptor(value))


def dumps(tree: object) -> bytes:
    """JSON text of plain lists, dicts, strings, numbers and booleans, with Go's escapes."""
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    return _ESCAPED.sub(_escape, text).encode()


def _escape(match: re.Match[str]) -> str:
    point = ord(match[0])
    return "\\ufffd" if 0xD800 <= point <= 0xDFFF else f"\\u{point:04x}"  # noqa: PLR2004 - the surrogates


def _full(*pairs: tuple[str, object]) -> dict[str, object]:
    """Go's `omitempty` for all pairs."""
    return {key: value for key, value in pairs if value}


def _sorted(items: Mapping[str, object]) -> dict[str, object]:
    return {key: items[key] for key in sorted(items)}


def _set(items: Iterable[str]) -> dict[str, object]:
    return {key: {} for key in sorted(items)}


def _manifest(value: Manifest) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": value.media_type,
        **_full(("artifactType", value.artifact_type)),
        "config": _descriptor(value.config),
        "layers": [_descriptor(layer) for layer in value.layers],
        **_tail(value),
    }


def _index(value: Index) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": value.media_type,
        **_full(("artifactType", value.artifact_type)),
        "manifests": [_descriptor(item) for item in value.manifests],
        **_tail(value),
    }


def _tail(value: Manifest | Index) -> dict[str, object]:
    subject = _descriptor(value.subject) if value.subject else None
    return _full(("subject", subject), ("annotations", _sorted(value.annotations)))


def _descriptor(value: Descriptor) -> dict[str, object]:
    return {
        "mediaType": value.media_type,
        "digest": value.digest,
        "size": value.size,
        **_full(
            ("urls", list(value.urls)),
            ("annotations", _sorted(value.annotations)),
            ("platform", _platform(value.platform or {})),
            ("artifactType", value.artifact_type),
        ),
    }


def _platform(value: Mapping[str, object]) -> dict[str, object]:
    known = {key: value[key] for key in _PLATFORM if value.get(key)}
    return known | {key: value[key] for key in sorted(value) if key not in known and value[key]}


def _config(value: ImageConfig) -> dict[str, object]:
    return {
        **_full(("created", value.created), ("author", value.author)),
        "architecture": value.architecture,
        "os": value.os,
        **_full(
            ("os.version", value.os_version),
            ("os.features", list(value.os_features)),
            ("variant", value.variant),
        ),
        "config": _container(value.config),
        "rootfs": {"type": "layers", "diff_ids": list(value.diff_ids)},
        **_full(("history", [_history(item) for item in value.history])),
        **_sorted(value.extra),
    }


def _container(value: ContainerConfig) -> dict[str, object]:
    known = _full(
        ("User", value.user),
        ("ExposedPorts", _set(value.exposed_ports)),
        ("Env", list(value.env)),
        ("Entrypoint", list(value.entrypoint or ())),
        ("Cmd", list(value.cmd or ())),
        ("Volumes", _set(value.volumes)),
        ("WorkingDir", value.working_dir),
        ("Labels", _sorted(value.labels)),
        ("StopSignal", value.stop_signal),
        ("ArgsEscaped", value.args_escaped),
        ("Healthcheck", _healthcheck(value.healthcheck) if value.healthcheck else None),
        ("OnBuild", list(value.on_build)),
        ("Shell", list(value.shell)),
    )
    return known | _sorted(value.extra)


def _healthcheck(value: Healthcheck) -> dict[str, object]:
    return _full(
        ("Test", list(value.test)),
        ("Interval", value.interval),
        ("Timeout", value.timeout),
        ("StartPeriod", value.start_period),
        ("StartInterval", value.start_interval),
        ("Retries", value.retries),
    )


def _history(value: History) -> dict[str, object]:
    return _full(
        ("created", value.created),
        ("created_by", value.created_by),
        ("author", value.author),
        ("comment", value.comment),
        ("empty_layer", value.empty_layer),
    )
