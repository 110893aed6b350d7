"""Kubernetes objects against the published definitions: what no server would take, and where.

`testdata/kubernetes.json` has the definitions that the documentation needs, under short names: a
field is a kind of value, the name of a definition, a list of either ([...]) or a map ({"*": ...}).
"""

import json
from pathlib import Path

DEFINITIONS = Path(__file__).parents[2] / "testdata" / "kubernetes.json"
SCALARS = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}


class Schema:
    def __init__(self):
        document = json.loads(DEFINITIONS.read_text())
        self._kinds, self._known = document["kinds"], document["definitions"]

    def faults(self, manifest):
        """Lines such as `spec.replicas: "2" is no integer`; none for what fits."""
        name = self._kinds.get(f"{manifest.get('apiVersion')} {manifest.get('kind')}")
        return ["kind: not known"] if name is None else list(self._of(manifest, name, ""))

    def _of(self, value, kind, place):
        if isinstance(kind, list):
            yield from self._each(value, list, enumerate, kind[0], place)
        elif isinstance(kind, dict):
            yield from self._each(value, dict, dict.items, kind["*"], place)
        elif kind in SCALARS:
            known = isinstance(value, SCALARS[kind])
            if not known or (isinstance(value, bool) and kind != "boolean"):
                yield f"{place}: {json.dumps(value)} is no {kind}"
        elif kind not in self._known:
            yield f"{place}: {kind} is not in {DEFINITIONS.name}"
        elif self._known[kind].get("scalar"):
            if isinstance(value, (dict, list, bool)):
                yield f"{place}: not a {kind}"
        else:
            yield from self._object(value, self._known[kind], place)

    def _each(self, value, shape, pairs, kind, place):
        if not isinstance(value, shape):
            yield f"{place}: not a {'list' if shape is list else 'map'}"
            return
        for key, item in pairs(value):
            yield from self._of(item, kind, f"{place}[{key}]")

    def _object(self, value, definition, place):
        if not isinstance(value, dict):
            yield f"{place}: not an object"
            return
        for name in definition["required"]:
            if name not in value:
                yield f"{place}: {name} is missing"
        for name, item in value.items():
            inside = f"{place}.{name}".lstrip(".")
            if name not in definition["fields"]:
                yield f"{inside}: there is no such field"
            else:
                yield from self._of(item, definition["fields"][name], inside)
