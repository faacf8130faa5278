"""Yield, wafer maps, ageing, carbon and net zero: how right, how sure, how fast.

    python benchmarks/silicon.py --json
    python benchmarks/silicon.py --only wafers aging --csv benchmarks/results/silicon-2-cores.csv

Each part has a script of its own with its own options: silicon_yields.py, silicon_wafers.py,
silicon_wafer_classes.py, silicon_aging.py, silicon_carbon.py, silicon_netzero.py. Network and chip: joint.py.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from rows import show

PARTS = ("yields", "wafers", "wafer_classes", "aging", "carbon", "netzero")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the parts")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = []
    for part in asked.only:
        print(f"measuring {part}", file=sys.stderr)
        rows = importlib.import_module(f"silicon_{part}").rows()
        found += [{**each, "name": f"{part}: {each['name']}"} for each in rows]
    show(found, asked.json, asked.csv, "python benchmarks/silicon.py")


if __name__ == "__main__":
    main()
