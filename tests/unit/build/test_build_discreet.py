"""What a build says, and states for others to read, has no secret in it."""

import json
from dataclasses import replace

import pytest
from support.web import Answer, web

from lazybuild.build import attest, inputs
from lazybuild.build.reading import read_target
from lazybuild.build.veil import Veil
from lazybuild.dockerfile.options import Compiled
from lazybuild.errors import BuildError
from lazybuild.events import VertexDone, VertexStarted, Warned, discard
from lazybuild.llb.ops import Platform
from lazybuild.oci.image import ImageConfig
from lazybuild.request import BuildRequest, Target

HERE = Platform(os="linux", architecture="amd64")
SECRET = "hunter2-of-the-tests"


@pytest.fixture
def request_for(tmp_path):
    (tmp_path / "context").mkdir()
    return BuildRequest(root=tmp_path / "store", context=str(tmp_path / "context"))


def test_what_looks_secret_is_in_no_hint_and_no_detail(request_for):
    told = []
    asked = replace(request_for, build_args={"API_TOKEN": SECRET})
    veil = Veil([asked], told.append)
    veil(Warned(message=f"m {SECRET}", detail=(f"d {SECRET}", "plain")))
    assert (told[0].message, told[0].detail) == ("m ****", ("d ****", "plain"))
    error = BuildError(f"e {SECRET}", hint=f"it said: {SECRET}")
    with pytest.raises(BuildError), veil:
        raise error
    assert (error.message, error.hint) == ("e ****", "it said: ****")


def test_a_dockerfile_behind_a_signed_url_is_called_without_the_signature(request_for):
    with web() as site:
        site.answers[f"/Dockerfile?sig={SECRET}"] = Answer(b"FROM scratch\nBROKEN\n")
        url = f"{site.url}/Dockerfile?sig={SECRET}"
        given = inputs.read(replace(request_for, dockerfile=url))
    assert given.path == f"{site.url}/Dockerfile?sig=…"


def test_provenance_names_a_dockerfile_without_its_secrets(request_for):
    asked = replace(request_for, dockerfile=f"https://me:{SECRET}@h.test/d?t={SECRET}")
    compiled = Compiled(
        head=None, config=ImageConfig(), platform=HERE, stage="", stages=(), base_history=0
    )
    stated = attest._provenance(asked, compiled, "now")
    assert SECRET not in json.dumps(stated)
    assert "https://h.test/d" in json.dumps(stated)


def test_what_is_kept_of_steps_has_no_secret(request_for):
    asked = replace(
        request_for, build_args={"API_TOKEN": SECRET}, dockerfile="-", stdin=b"FROM scratch\n"
    )
    read = read_target(Target(request=asked), discard, {}, lambda _: None)
    name = f"WORKDIR /{SECRET}"
    read.events(VertexStarted(vertex="v", name=name))
    read.events(VertexDone(vertex="v", name=name))
    assert [step.name for step in read.events.steps()] == ["WORKDIR /****"]
