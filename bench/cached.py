"""A cold machine with a warm cache at the registry: every step but the last is a hit."""

from link import Link
from report import Figure

STEPS, MBIT = 12, 1e6 / 8


def cached(stand):
    image = stand.image("lazy")
    lines = [f"RUN echo {n} > /n{n}" for n in range(STEPS - 3)]
    text = (
        "ARG BASE\nFROM ${BASE}\nWORKDIR /w\n" + "\n".join(lines) + "\nCOPY last .\nRUN cat last\n"
    )
    with (
        stand.context({"Dockerfile": text, "last": "one"}) as context,
        Link(stand.registry.port, rtt=0.02, rate=400 * MBIT) as link,
    ):
        host = f"127.0.0.1:{link.port}"
        words = ("-t", "x", "--build-arg", f"BASE={host}/{image}", "--profile-to=off")
        cache = f"type=registry,ref={host}/cache:1,mode=max"
        with stand.store() as store:
            stand.build(store, context, *words, "--cache-to", cache)
        for name, limit in (("nothing changed", 2.0), ("last step changed", 2.0)):
            with stand.store() as store:
                spent = stand.build(store, context, *words, "--cache-from", cache)
            (context / "last").write_text("two")
            hits = sum(step["cached"] for step in spent.stats["steps"])
            note = f"cpu {spent.cpu:.1f} s, {hits} steps cached, {spent.stats['tier']}"
            yield Figure(
                "cached", f"cold, cache at registry, {name}", spent.wall, "s", limit, note=note
            )
