"""First reads of a mounted layer whose chunks are in the disk cache; a layer of very many files."""

from report import Figure


def reading(stand):
    blob, toc_digest = stand.layer(stand.image("lazy"))
    found = stand.measured("lazyfs_mount.py", blob, toc_digest, stand.runs, inside=True)
    for name, value, unit, limit in (
        ("first reads of small files", found["cold_small_files_per_s"], "/s", 10_000),
        ("the same, two at a time", found["cold_small_two_threads_per_s"], "/s", 10_000),
        ("first reads of the largest files", found["cold_sequential_GBps"], "GB/s", 1.2),
    ):
        yield Figure("reading", name, value, unit, limit, least=True)
    yield Figure("reading", "peak memory of the daemon", found["peak_MB"], "MB", 200)


def entries(stand):
    found = stand.measured("lazyfs_entries.py", "--work", stand.runs, inside=True)
    yield Figure("entries", "500,000 entries, TOC to mount", found["layer_ready_s"], "s", 3)
    yield Figure("entries", "peak memory of the daemon", found["peak_MB"], "MB", 250)
