"""An inventory as the base year of a plan: what `archfab silicon inventory FILE --json` says, as [[sources]]."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archfab.core import UsageError

HOW = "it is what `archfab silicon inventory FILE --json` prints"
MOST = 0.99
OWN = ("scope", "t", "market_t")            # of a source, said by the inventory alone


def with_inventory(data: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """The data of a plan with the lines of its `inventory` (a file) as [[sources]]: tonnes by both figures of scope 2,
    the wider of their intervals as `uncertainty`, its year as base year. [[sources]] of the same name add growth and
    the like. Biogenic CO2, which an inventory keeps beside the scopes, is no source.

    :raises UsageError: where the file is no inventory or the plan says something else.
    """
    if not isinstance(data, Mapping) or "inventory" not in data:
        return data
    if not isinstance(data["inventory"], str):
        raise UsageError(f"the plan: 'inventory' is {data['inventory']!r}; write the name of a file: {HOW}")
    year, found = read(folder / data["inventory"])
    if data.get("base_year", year) != year:
        raise UsageError(f"the plan: 'base_year' is {data['base_year']}, and the inventory is of {year}; leave "
                         "base_year out, or take the inventory of that year")
    given = data.get("sources", [])
    for each in given if isinstance(given, list) else []:
        name = each.get("name") if isinstance(each, Mapping) else None
        if isinstance(name, str) and name in found:
            if said := [key for key in OWN if key in each]:
                raise UsageError(f"[[sources]] '{name}' is in the inventory, which says its '{said[0]}'; leave that "
                                 "out, and add growth and the like")
            found[name] |= each
    for name, each in found.items():
        if isinstance(each["uncertainty"], float) and each["uncertainty"] > MOST:
            raise UsageError(f"'{name}' of the inventory is uncertain by {each['uncertainty']:.0%}, and a plan takes "
                             f"{MOST:.0%} at most; know it better, or say its 'uncertainty' in [[sources]] '{name}'")
    others = [each for each in given if not (isinstance(each, Mapping) and each.get("name") in found)] \
        if isinstance(given, list) else []
    rest = {key: value for key, value in data.items() if key != "inventory"}
    return {**rest, "base_year": year, "sources": [*found.values(), *others] if isinstance(given, list) else given}


def read(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """The year of an inventory, and its lines as sources by name."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        lines = [line for line in document["lines"] if line["scope"] in ("1", "2", "3")]
        return document["year"], {line["name"]: source(line) for line in lines}
    except FileNotFoundError:
        raise UsageError(f"there is no inventory {path}; {HOW}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read as an inventory ({error}); {HOW}") from None


def source(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line in kg with 95 % intervals as a source in tonnes."""
    location, market = line["location_kg"], line["market_kg"]
    made = {"name": line["name"], "scope": int(line["scope"]), "t": location["value"] / 1000,
            "uncertainty": max(spread(location), spread(market))}
    return {**made, "market_t": market["value"] / 1000} if made["scope"] == 2 else made


def spread(figure: Mapping[str, float]) -> float:
    """1.96 standard deviations as a share of the mean, from the 95 % interval of a lognormal: 1.96 sqrt(exp(s^2) - 1),
    s = ln(high / low) / (2 x 1.96)."""
    if figure["value"] <= 0 or figure["low"] >= figure["high"]:
        return 0.0
    return 1.96 * math.sqrt(math.expm1((math.log(figure["high"] / figure["low"]) / (2 * 1.96)) ** 2))
