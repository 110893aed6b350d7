"""The deployment in docs/kubernetes.md hangs together: what one part names, another one has."""

import re
from pathlib import Path

import yaml

DOC = Path(__file__).parents[3] / "docs" / "kubernetes.md"


def documents():
    blocks = re.findall(r"```yaml\n(.*?)```", DOC.read_text(), re.DOTALL)
    return {doc["kind"]: doc for block in blocks for doc in yaml.safe_load_all(block)}


def test_the_service_finds_the_pods():
    found = documents()
    service, workload = found["Service"], found["StatefulSet"]
    template = workload["spec"]["template"]
    assert service["spec"]["selector"] == template["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
    assert f"--addr=tcp://0.0.0.0:{ports['grpc']}" in container["args"]


def test_what_is_mounted_is_there():
    spec = documents()["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    volumes = {each["name"] for each in pod["volumes"]}
    volumes |= {each["metadata"]["name"] for each in spec["volumeClaimTemplates"]}
    (container,) = pod["containers"]
    assert {each["name"] for each in container["volumeMounts"]} == volumes


def test_no_port_is_open_without_certificates():
    (container,) = documents()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    flags = {argument.partition("=")[0] for argument in container["args"]}
    assert {"--tlscacert", "--tlscert", "--tlskey"} <= flags
    assert container["securityContext"]["runAsUser"] == 1000
    assert "privileged" not in container["securityContext"]
