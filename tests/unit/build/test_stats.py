"""What a build says of its reads."""

from lazybuild.build.stats import spent
from lazybuild.request import LayerStats


def test_guesses_are_told_with_their_cost_and_their_hits():
    layer = LayerStats(
        digest="sha256:" + "a" * 64,
        mode="lazy",
        bytes_fetched=10_100_000,
        requests=12,
        fetched_for={"asked": 6_000_000, "speculation": 4_000_000},
        used_of={"asked": 6_000_000, "speculation": 1_000_000},
    )
    assert spent(layer) == (
        "layer sha256:aaaaaaaaaaaa: 10.1 MB in 12 requests: 6.0 asked for, 4.0 guessed (25 % used)"
    )
