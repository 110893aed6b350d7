"""`--pull=never` asks no registry for an image, whatever is known of it."""

import pytest

pytestmark = pytest.mark.rootless


def test_a_registry_is_never_asked_for_an_image(builder, registry):
    base = f"{registry.host}/base:1"
    text = {"Dockerfile": f"FROM {base}\nRUN cat /etc/passwd\n"}
    before = len(registry.log)
    refused = builder.build(text, "--pull=never", expect=1)
    assert f"{base} is not in the store, and --pull=never asks no registry" in refused.err
    assert "lazybuild pull --whole" in refused.err
    assert "FROM" in refused.err  # its line is shown
    assert len(registry.log) == before
    builder.build(text)
    before = len(registry.log)
    refused = builder.build(text, "--pull=never", expect=1)
    assert "base:1@sha256:" in refused.err
    assert "layer sha256:" in refused.err
    assert len(registry.log) == before
    builder.run("pull", "--whole", base)
    before = len(registry.log)
    run = builder.build(text, "--pull=never", "--no-cache")
    assert "alice" in run.err
    assert len(registry.log) == before


def test_it_is_refused_where_another_engine_asks(builder):
    context = builder.context({"Dockerfile": "FROM mine\n"})
    refused = builder.build(context, "--pull=never", "--builder", "unix:///nothing", expect=2)
    assert "--pull=never does not work with --builder" in refused.err
