"""Runs the benchmarks: `python bench/run.py --folder DIR --base TAR [CASE...]`.

Wall times depend on what else the machine does; the processor time beside them less so.
"""

import argparse
import sys
from pathlib import Path

import cases
import report
from stand import Stand, busy

RESULTS = Path(__file__).parent / "results"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="tar of a large dev base")
    parser.add_argument("--small", type=Path, help="tar of a smaller one, for writing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("case", nargs="*", choices=[[], *cases.CASES], default=[])
    asked = parser.parse_args()
    stand = Stand(asked.folder, asked.base, asked.small or asked.base, asked.repeat)
    figures = []
    try:
        for name in asked.case or cases.CASES:
            print(f"-- {name}, load {busy():.1f}", file=sys.stderr, flush=True)
            for found in cases.CASES[name](stand):
                report.show([found])
                figures.append(found)
    finally:
        stand.close()
        if figures:
            print(report.save(figures, asked.results), file=sys.stderr)


if __name__ == "__main__":
    main()
