"""Outputs as a BuildKit's exporters, and what those leave out."""

import pytest

from lazybuild.errors import BuildError
from lazybuild.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from lazybuild.remote import exports

INDEX, MANIFEST = {"mediaType": OCI_INDEX}, {"mediaType": OCI_MANIFEST}


@pytest.mark.parametrize("made", [MANIFEST, {}])
def test_a_docker_that_keeps_no_attestations_is_named(made):
    plan = exports.plan([], ["x:1"], {}, inside_docker=True)
    with pytest.raises(BuildError, match="docker:///d: its image store holds no attestations"):
        exports.require_stated(plan, made, "docker:///d")
    exports.require_stated(plan, INDEX, "docker:///d")


def test_other_daemons_have_their_own_word():
    plan = exports.plan([], ["x:1"], {}, inside_docker=False)
    exports.require_stated(plan, {}, "unix:///d")
