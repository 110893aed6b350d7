"""The Kubernetes manifests of the documentation are what a server would take."""

import re
from pathlib import Path

import pytest
import yaml
from support.manifests import Schema

DOCS = Path(__file__).parents[3] / "docs"


def manifests():
    """Of the blocks in documents, and of files of their own."""
    for path in sorted(DOCS.rglob("*.md")):
        blocks = re.findall(r"```yaml\n(.*?)```", path.read_text(), re.DOTALL)
        yield from ((path.name, doc) for text in blocks for doc in yaml.safe_load_all(text))
    for path in sorted(DOCS.rglob("*.yaml")):
        yield from ((path.name, doc) for doc in yaml.safe_load_all(path.read_text()))


FOUND = [pair for pair in manifests() if "apiVersion" in pair[1]]


def test_there_are_manifests():
    assert {(name, doc["kind"]) for name, doc in FOUND} >= {
        ("kubernetes.md", "Service"),
        ("kubernetes.md", "StatefulSet"),
        ("kubernetes-pod.yaml", "Pod"),
    }


@pytest.mark.parametrize(
    "manifest", [doc for _, doc in FOUND], ids=[f"{name}-{doc['kind']}" for name, doc in FOUND]
)
def test_fields_and_values_are_those_of_kubernetes(manifest):
    assert Schema().faults(manifest) == []


def pod(**container):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {"containers": [{"name": "a", **container}]},
    }


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        (pod(securitycontext={}), "spec.containers[0].securitycontext: there is no such field"),
        (pod(args="x"), "spec.containers[0].args: not a list"),
        (pod(tty="yes"), 'spec.containers[0].tty: "yes" is no boolean'),
        (
            pod(ports=[{"containerPort": True}]),
            "spec.containers[0].ports[0].containerPort: true is",
        ),
        (pod(ports=[{"name": "a"}]), "spec.containers[0].ports[0]: containerPort is missing"),
        (pod(resources={"limits": ["1"]}), "spec.containers[0].resources.limits: not a map"),
        (pod(lifecycle={}), "spec.containers[0].lifecycle: Lifecycle is not in kubernetes.json"),
        ({"apiVersion": "v2", "kind": "Pod"}, "kind: not known"),
    ],
)
def test_what_is_wrong_is_found(manifest, fault):
    (found,) = Schema().faults(manifest)
    assert found.startswith(fault)
