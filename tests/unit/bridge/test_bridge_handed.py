"""What a frontend hands back as a compiler's result."""

import json

import pytest
from support.talk import HERE, local

from lazybuild.bridge.handed import compiled
from lazybuild.bridge.refs import Refs
from lazybuild.errors import BuildError, LazybuildError
from lazybuild.oci import codec
from lazybuild.oci.image import History, ImageConfig
from lazybuild.wire.asked import Graph
from lazybuild.wire.gateway import Outcome

CONFIG = "containerimage.config"


def made(refs=None, epoch=None, **metadata):
    table = Refs()
    known = {name: table.add(Graph(head=local())) for name in refs or ()}
    values = {name.replace("_", "."): data for name, data in metadata.items()}
    return compiled(Outcome(refs=known, metadata=values), table, HERE, epoch)


def config(**fields):
    return codec.encode(ImageConfig(os="linux", architecture="arm64", **fields))


def test_nothing_is_an_empty_image_for_this_machine():
    found = made()
    assert found.head is None
    assert found.platform == HERE
    assert found.config.config.env[0].startswith("PATH=")


def test_a_config_says_the_platform_and_keeps_what_nobody_knows():
    data = json.loads(config()) | {"strange": [1]}
    found = made([""], containerimage_config=json.dumps(data).encode())
    assert found.head == local()
    assert str(found.platform) == "linux/arm64"
    assert found.config.extra == {"strange": [1]}


def test_an_image_under_the_name_of_its_platform():
    metadata = {f"{CONFIG}/linux/arm64": config(author="me"), CONFIG: config(author="you")}
    assert made(["linux/arm64"], **metadata).config.author == "me"


def test_the_history_that_came_with_the_base():
    lines = (History(created_by="a"), History(created_by="b"))
    base = config(history=lines)
    own = config(history=(*lines, History(created_by="c")))
    found = made([""], containerimage_config=own, containerimage_base_config=base)
    assert found.base_history == 2
    lying = made([""], containerimage_config=config(), containerimage_base_config=base)
    assert lying.base_history == 0


def test_an_epoch_unless_the_user_has_one():
    assert made(source_date_epoch=b"5").epoch == 5
    assert made(source_date_epoch=b"5", epoch=7).epoch == 7
    for bad in (b"-1", b"x", b"9" * 40, "٣".encode()):
        with pytest.raises(LazybuildError, match="as a number of seconds"):
            made(source_date_epoch=bad)


def test_two_images_where_one_was_asked_for():
    with pytest.raises(BuildError, match="2 images where one"):
        made(["linux/amd64", "linux/arm64"])


@pytest.mark.parametrize("data", [b"[1", b"[]", b'{"config": 3}', b"\xff", b"{" * 100_000])
def test_a_config_that_is_none(data):
    with pytest.raises(LazybuildError, match="config"):
        made([""], containerimage_config=data)
