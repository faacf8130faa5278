"""Carbon: published figures met, how intervals cover, grid tables compared, estimates against meters, speed.

    python benchmarks/silicon_carbon.py             every row (a few seconds)
    python benchmarks/silicon_carbon.py --json      one list of rows
Rows that compare with CodeCarbon's table of cloud regions need the optional data folder (ARCHFAB_DATA).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from rows import row, show

from archfab.silicon.carbon.embodied import Making, carbon_per_area_g_cm2, embodied_terms
from archfab.silicon.carbon.estimate import KNOWN
from archfab.silicon.carbon.product import die_carbon
from archfab.silicon.carbon.uncertain import Term, draw, total

ACT = {28: 1328.2, 14: 1556.7, 7: 2318.2, 5: 2778.0, 3: 3162.6}     # g/cm2, Y .875, 97 %, Taiwan (ISCA 2022)
ACT_GRIDS = {"IND": 725, "AUS": 597, "TWN": 583, "SGP": 495, "USA": 380, "BRA": 82, "ISL": 28}      # g/kWh
# Watts of RAPL by load in percent, and the thermal design power of the sockets: CodeCarbon's own measurements of
# January 2025 (github.com/mlco2/codecarbon, data/hardware/cpu_load_profiling, all cores; energy over duration)
METERED = {
    "two Xeon E5-2620 v3": (170, {30: 44.7, 40.5: 62.2, 50.2: 61.5, 60: 75.8, 69.9: 111.8, 80.8: 115.7, 89.7: 117.4,
                                  99.6: 105.0}),
    "EPYC 8024P": (90, {30: 41.7, 40.3: 43.1, 50: 47.6, 64.6: 48.7, 70.2: 49.2, 80: 50.9, 89.4: 46.0, 100: 46.2}),
    "Threadripper 1950X": (180, {36.4: 105.7, 44.8: 127.8, 53.1: 143.4, 66: 172.5, 72.1: 170.2, 83.1: 169.1,
                                 91.7: 167.1, 99.7: 167.1}),
    "Xeon E3-1240 V2": (69, {32.5: 9.4, 41.2: 14.1, 51.3: 24.0, 60.8: 29.5, 71.3: 44.5, 80.2: 47.2, 88.9: 48.4,
                             100: 49.4})}


def rows() -> list[dict[str, Any]]:
    """Every row."""
    return [*figures(), *coverage(), *meters(), *speed(), *tables()]


def figures() -> list[dict[str, Any]]:
    worst = max(abs(float(carbon_per_area_g_cm2(node_nm=node, yield_=0.875)) - known) for node, known in ACT.items())
    return [row("ACT's carbon per area, five nodes: furthest off", worst, "g/cm2", 0.1)]


def coverage() -> list[dict[str, Any]]:
    """How much of 400,000 draws lies in the interval that is computed from the exact moments."""
    sums = {"a die": embodied_terms(100, 7, 0.9, Making(yield_spread=0.1)),
            "a die and its use": [*embodied_terms(100, 7, 0.9), Term(4000.0, {"grid": 0.2, "energy": 0.4})],
            "an inventory, one line +-100 %": [Term(50.0, {"a": 1.0}), Term(100.0, {"g": 0.2, "b": 0.05}),
                                               Term(80.0, {"g": 0.2, "c": 0.05}), Term(30.0, {"d": 0.3})],
            "lines of +-100 % alone": [Term(10.0 * k, {f"f{k}": 1.0}) for k in range(1, 6)]}
    found = []
    for name, terms in sums.items():
        drawn = draw(terms, np.random.default_rng(0), 400_000).sum(axis=0)
        made = total(terms)
        inside = float(np.mean((drawn >= made.low) & (drawn <= made.high)))
        found.append(row(f"95 % interval of {name}: off by", 100 * abs(inside - 0.95), "percentage points", 1.0))
    return found


def meters() -> list[dict[str, Any]]:
    """Design power times load against RAPL, on four processors."""
    ratios = [watts / (tdp * load / 100) for tdp, loads in METERED.values() for load, watts in loads.items()]
    made = total([Term(1.0, {"power": KNOWN})])
    inside = statistics.fmean(made.low <= ratio <= made.high for ratio in ratios)
    return [row("estimated power: share of 32 metered points inside its interval", inside, "share", 0.9, True),
            row("metered over estimated power, mean", statistics.fmean(ratios), "ratio"),
            row("metered over estimated power, furthest", max(ratios, key=lambda each: abs(math.log(each))), "ratio")]


def speed() -> list[dict[str, Any]]:
    """CPU time of what a search calls for each network, and of an inventory of 2,000 lines."""
    def once() -> float:
        start = time.process_time()
        for _ in range(100):
            die_carbon(area_mm2=100, node_nm=7, yield_=0.9, energy_mj=2, inferences=1e9, grid_g_kwh=400, fab_g_kwh=583,
                       pue=1.2, area_spread=0.2, yield_spread=0.1, energy_spread=0.4)
        return (time.process_time() - start) / 100

    terms = [Term(float(k), {f"amount {k}": 0.1, f"factor {k % 20}": 0.2}) for k in range(2000)]
    start = time.process_time()
    total(terms)
    return [row("figures of one die for a search", 1e6 * statistics.median(once() for _ in range(7)), "us", 1000.0),
            row("2,000 lines added up, exact moments", time.process_time() - start, "s", 0.5)]


def tables() -> list[dict[str, Any]]:
    """Figures of the same grids by Our World in Data (through CodeCarbon), by ACT and by Google."""
    folder = Path(os.environ.get("ARCHFAB_DATA", "none")) / "codecarbon-tables"
    if not folder.is_dir():
        print("grid tables are not compared: ARCHFAB_DATA names no folder with codecarbon-tables", file=sys.stderr)
        return []
    mix = json.loads(gzip.decompress((folder / "global_energy_mix.json.gz").read_bytes()))
    acts = [abs(mix[code]["carbon_intensity"] / value - 1) for code, value in ACT_GRIDS.items()]
    regions: dict[str, list[float]] = {}
    text = gzip.decompress((folder / "cloud_impact.csv.gz").read_bytes()).decode("utf-8-sig")
    for each in csv.DictReader(io.StringIO(text)):
        if each["countryIsoCode"] in mix:
            regions.setdefault(each["countryIsoCode"], []).append(float(each["impact"]))
    googles = [abs(mix[code]["carbon_intensity"] / statistics.fmean(values) - 1) for code, values in regions.items()]
    return [row("grids by ACT and by Our World in Data, 7 countries: furthest apart", 100 * max(acts), "%", 20.0),
            row(f"grids by Google and by Our World in Data, {len(googles)} countries: median apart",
                100 * statistics.median(googles), "%")]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one list of rows")
    show(rows(), parser.parse_args(words).json, None, "python benchmarks/silicon_carbon.py")


if __name__ == "__main__":
    main()
