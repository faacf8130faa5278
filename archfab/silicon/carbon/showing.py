"""How this room's answers are shown to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archfab.terminal import clock, say, show_table

FEW = 5             # sources of uncertainty that are named


def scale_of(grams: float) -> tuple[float, str]:
    """What to divide grams by so that they read well, and the unit then."""
    for size, unit in ((1e9, "kt"), (1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg")):
        if abs(grams) >= size:
            return size, unit
    return (1e-6, "ug") if grams else (1.0, "g")


def mass(grams: float) -> str:
    """Grams as a person reads them."""
    size, unit = scale_of(grams)
    return f"{grams / size:.4g} {unit}"


def span(found: Mapping[str, float], scale: float = 1.0) -> str:
    return f"{mass(found['low'] * scale)} to {mass(found['high'] * scale)}"


def years(found: Mapping[str, float | None]) -> str:
    value, low, high = (found[key] for key in ("value", "low", "high"))
    if value is None:
        return "never" if low is None else f"never, at the earliest after {low:.3g} years"
    return f"after {value:.3g} years ({low:.3g} to {'never' if high is None else f'{high:.3g}'})"


def show_doubts(shares: Mapping[str, float]) -> None:
    named = ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(shares.items())[:FEW] if share >= 0.005)
    if named:
        say(f"what the interval comes from: {named}")


def show_written(document: Mapping[str, Any]) -> None:
    for key, what in (("csv", "table"), ("png", "picture")):
        if document.get(key):
            say(f"{what}: {document[key]}")


def show_carbon(document: Mapping[str, Any]) -> None:
    show_table(["", "CO2e", "95 %"], [[name, mass(document[key]["value"]), span(document[key])] for name, key in (
        ("manufacture", "embodied_g"), (f"use, {document['years']:g} years", "operational_g"), ("both", "carbon_g"))])
    say()
    whole = document["carbon_g"]["value"]
    show_table(["part", "CO2e", "share"], [[name, mass(value), f"{100 * value / whole:.1f} %"]
                                           for name, value in document["parts_g"].items() if value])
    say()
    if document["break_even_years"]:
        say(f"use overtakes manufacture {years(document['break_even_years'])}")
    if document["payback_years"]:
        say(f"what it saves has paid for its manufacture {years(document['payback_years'])}")
    if document["carbon_per_inference_ug"] is not None:
        say(f"an inference: {document['carbon_per_inference_ug']:.4g} ug CO2e, manufacture included")
    say(f"grid of use: {grid_line(document['grid'])}, PUE {document['pue']:g}; of the fab: "
        f"{grid_line(document['fab_grid'])}")
    charged = "its own area alone" if document["dies_per_wafer"] is None else \
        f"a {document['dies_per_wafer']:g}th of the wafer"
    say(f"yield {document['yield']:.4g}, charged {charged}")
    show_doubts(document["uncertainty"])
    show_written(document)


def grid_line(found: Mapping[str, Any]) -> str:
    year = f", {found['year']}" if found["year"] else ""
    return found["name"] if not found["place"] else f"{found['name']}{year}, {found['g_kwh']:.4g} g/kWh"


def show_bill(document: Mapping[str, Any]) -> None:
    whole = document["embodied_g"]
    say(f"{document['name']}: {mass(whole['value'])} CO2e to make (95 %: {span(whole)})")
    show_table(["part", "number", "CO2e", "95 %", "share"],
               [[part["name"], f"{part['count']:g}", mass(part["embodied_g"]["value"]), span(part["embodied_g"]),
                 f"{100 * part['embodied_g']['value'] / whole['value']:.1f} %" if whole["value"] else ""]
                for part in document["parts"]])
    show_doubts(document["uncertainty"])


def show_grid(document: Mapping[str, Any]) -> None:
    rows = document.get("grids", [document])
    show_table(["place", "name", "year", "g CO2e/kWh", "low", "high", "residual mix", "source"],
               [[row["place"], row["name"], row["year"], *(f"{row[key]:.1f}" for key in ("g_kwh", "low", "high")),
                 row["residual_g_kwh"], row["source"]] for row in rows],
               f"{document['table']}, {document['method']}")


def show_footprint(document: Mapping[str, Any]) -> None:
    energy, emitted = document["energy_kwh"], document["carbon_g"]
    say(f"{document['what']}: {mass(emitted['value'])} CO2e (95 %: {span(emitted)})")
    say(f"{joules(energy['value'])} ({joules(energy['low'])} to {joules(energy['high'])}), {document['origin']}; "
        f"{clock(document['seconds'])} on the wall, {document['core_seconds']:.4g} s of cores, "
        f"{document['memory_gb']:.3g} GB")
    show_table(["part", "energy", "origin"],
               [[part["part"], joules(part["kwh"]), part["origin"]] for part in document["parts"]])
    given = "" if document["pue_given"] else " (not given: what data centres have on average)"
    say(f"PUE {document['pue']:g}{given}; grid: {grid_line(document['grid'])}")
    if document["core"]:
        say(f"power of a core: {document['core']}")
    if document["meters"]:
        say(f"measured by {', '.join(document['meters'])}: the whole of it, idle power and other work included")
    show_doubts(document["uncertainty"])
    for note in document["notes"]:
        say(f"note: {note}")
    if document["exit"]:
        say(f"the command ended with the code {document['exit']}")


def joules(kwh: float) -> str:
    for size, unit in ((1.0, "kWh"), (1e-3, "Wh"), (1e-3 / 3600, "J")):
        if kwh >= size:
            return f"{kwh / size:.4g} {unit}"
    return f"{kwh * 3.6e9:.4g} mJ"


def show_inventory(document: Mapping[str, Any]) -> None:
    say(f"{document['organisation']}, {document['year']} ({document['gwp']})")
    show_table(["", "CO2e", "95 %"], [
        *([f"scope {name}" if name != "outside" else "outside the scopes (biogenic CO2)", mass(1000 * each["value"]),
           span(each, 1000)] for name, each in sorted(document["scopes"].items())),
        *([f"total, {method}-based", mass(1000 * document[f"total_{method}_kg"]["value"]),
           span(document[f"total_{method}_kg"], 1000)] for method in ("location", "market"))])
    say()
    show_table(["line", "scope", "category", "location-based", "market-based", "95 % of market-based"],
               [[line["name"], line["scope"], line["category"], mass(1000 * line["location_kg"]["value"]),
                 mass(1000 * line["market_kg"]["value"]), span(line["market_kg"], 1000)]
                for line in sorted(document["lines"], key=lambda line: -line["market_kg"]["value"])])
    say()
    show_doubts(document["uncertainty"])
    for note in document["notes"]:
        say(f"note: {note}")
    show_written(document)
