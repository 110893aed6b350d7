"""How fast a layer is written, how large it gets and how much memory that takes.

    python bench/estargz_write.py IMAGE.tar [--level N] [--threads N] [--compression C]

Compares with `gzip -6` of the same tar when --gzip is given. Prints one JSON object.
"""

import argparse
import json
import resource
import subprocess
import time
from functools import partial
from pathlib import Path

from lazybuild.estargz import streams, tar
from lazybuild.estargz.writer import Compression, WriterOptions, write_layer


def write(args, out):
    options = WriterOptions(
        compression=Compression(args.compression), level=args.level, threads=args.threads
    )
    start = time.perf_counter()
    with Path(args.source).open("rb", buffering=1 << 20) as source:
        content = tar.read(streams.decompress(source))
        written = write_layer(content, out.write, options=options)
    return written, time.perf_counter() - start


def gzip_size(source):
    with subprocess.Popen(["gzip", "-6", "-c", source], stdout=subprocess.PIPE) as packed:
        assert packed.stdout is not None
        return sum(map(len, iter(partial(packed.stdout.read, 1 << 20), b"")))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--out", default="/dev/null")
    parser.add_argument("--compression", default="estargz")
    parser.add_argument("--level", type=int)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--gzip", action="store_true")
    args = parser.parse_args()
    with Path(args.out).open("wb", buffering=0) as out:
        written, seconds = write(args, out)
    result = {
        "seconds": round(seconds, 2),
        "megabytes_per_second": round(written.uncompressed_size / seconds / 1e6, 1),
        "size": written.size,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "cpu_seconds": round(time.process_time(), 2),
    }
    if args.gzip:
        result["percent_over_gzip_6"] = round(100 * written.size / gzip_size(args.source) - 100, 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
