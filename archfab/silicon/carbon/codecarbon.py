"""CodeCarbon's tables, read from the files of the installed package; the package, which reports home, is never
imported."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from archfab.core import UsageError

PACKAGE = "codecarbon"
MIX = "private_infra/global_energy_mix.json"
CANADA = {"naturalGas": "natural_gas", "nuclear": "nuclear", "petroleum": "petroleum", "coal": "coal", "solar": "solar",
          "wind": "wind", "hydro": "hydroelectricity"}
"""CodeCarbon's shares of a province, and what its table of sources calls them; it has no figure for the others."""
POUND_PER_MWH = 453.59237 / 1000        # in g/kWh
Row = tuple[str, str, int | None, float, str]      # place, name, year, g/kWh, source


def installed() -> bool:
    """Whether the package's data files are on this machine."""
    try:
        return folder().is_dir()
    except metadata.PackageNotFoundError:
        return False


def folder() -> Path:
    return Path(str(metadata.distribution(PACKAGE).locate_file(f"{PACKAGE}/data")))


def load(name: str) -> Any:
    """One of its JSON files.

    :raises UsageError: where it is absent or broken: another version may have moved it.
    """
    try:
        return json.loads((folder() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"codecarbon {metadata.version(PACKAGE)} has no readable {name} ({error}); install a version "
                         "that has: pip install 'codecarbon>=3.3', or give a table with --grids FILE.csv") from None


def read_grids() -> tuple[str, list[Row]]:
    """Its version, and every grid that its tables tell of: countries, states of the USA, provinces of Canada and
    China, zones of the Nordic grid, and regions of clouds (gcp/us-central1)."""
    version = metadata.version(PACKAGE)
    rows: list[Row] = [(code, entry["country_name"], int(entry["year"]), float(entry["carbon_intensity"]),
                        f"codecarbon {version}, {MIX} (Our World in Data, CC BY 4.0)")
                       for code, entry in load(MIX).items()]
    for read in (american, canadian, zones, clouds):
        try:
            rows += read(version)
        except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
            raise UsageError(f"codecarbon {version} has changed its {read.__name__} table ({type(error).__name__}: "
                             f"{error}); install 3.3, or give a table with --grids FILE.csv") from None
    return version, rows


def optional(pattern: str) -> Path | None:
    """The newest of its files like this; None in a version without."""
    found = sorted(folder().glob(pattern))
    return found[-1] if found else None


def american(version: str) -> list[Row]:
    if not (path := optional("private_infra/*/usa_emissions.json")):
        return []
    table = json.loads(path.read_text(encoding="utf-8"))
    year = int(table.get("_source", {}).get("year") or path.parent.name)
    return [(f"USA/{state}", f"{state.title()}, USA", year, float(entry["emissions"]) * POUND_PER_MWH,
             f"codecarbon {version}, {path.name} (EPA eGRID)")
            for state, entry in table.items() if not state.startswith("_")]


def canadian(version: str) -> list[Row]:
    """Provinces, from their shares of sources; those of which a part has no figure are left out."""
    if not (path := optional("private_infra/*/canada_energy_mix.json")):
        return []
    grams = load("private_infra/carbon_intensity_per_source.json")
    rows: list[Row] = []
    for province, shares in json.loads(path.read_text(encoding="utf-8")).items():
        known = {ours: shares.get(theirs, 0.0) for theirs, ours in CANADA.items()}
        if sum(known.values()) < 99:
            continue
        value = sum(share * float(grams[source]) for source, share in known.items()) / sum(known.values())
        rows.append((f"CAN/{province}", f"{province.title()}, Canada", int(path.parent.name), value,
                     f"codecarbon {version}, {path.name} by its figures per source"))
    return rows


def zones(version: str) -> list[Row]:
    rows: list[Row] = []
    for pattern, country in (("private_infra/*/china_provincial_emissions.json", "CHN/"),
                             ("private_infra/nordic_emissions.json", "")):
        if path := optional(pattern):
            rows += [(f"{country}{code}", entry["description"], int(entry["year"]), float(entry["emission_factor"]),
                      f"codecarbon {version}, {path.name}")
                     for code, entry in json.loads(path.read_text(encoding="utf-8"))["data"].items()]
    return rows


def clouds(version: str) -> list[Row]:
    if not (path := optional("cloud/impact.csv")):
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(f"{row['provider']}/{row['region']}", f"{row['providerName']} {row['region']}", None,
                 float(row["impact"]), f"codecarbon {version}, cloud/impact.csv: {row['source']}")
                for row in csv.DictReader(file) if row["impact"]]


@cache
def tdp_table() -> Mapping[str, float]:
    """Thermal design power by the name of a processor, in W; empty where the package is not installed."""
    if not installed() or not (path := optional("hardware/cpu_power.csv")):
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:      # some of its figures are none, such as 27.29.5
        return {row["Name"].strip(): float(row["TDP"]) for row in csv.DictReader(file)
                if re.fullmatch(r"\d+(\.\d+)?", row["TDP"] or "")}
