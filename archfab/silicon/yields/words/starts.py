"""The word `starts`: wafers to start for a demand, and the money that yield decides about."""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError
from archfab.silicon.words import Document, Word
from archfab.silicon.yields.words.options import (
    add_density,
    add_die,
    add_how,
    add_png,
    add_wafer,
    area_of,
    defects_of,
    draw,
    tell_sources,
    wafer_of,
    warn,
)

if TYPE_CHECKING:
    from archfab.silicon.yields.starts import Month, Product


def add(word: Word) -> None:
    """The word and its options."""
    one = word("starts", "wafers to start for a demand, and the revenue at stake",
               "archfab silicon starts --demand 1e6 --area-mm2 100 --d0 0.1 --alpha 2 --line-yield 0.95 --unit-usd 60",
               carry_out, shown)
    one.add_argument("--demand", metavar="N|FILE", required=True, help="working units; or a CSV of periods with the "
                     "columns period, units and, where it changes, d0")
    add_die(one)
    add_density(one)
    add_wafer(one)
    add_how(one)
    one.add_argument("--line-yield", type=float, default=1.0, metavar="SHARE", help="of wafers started that are "
                     "finished (default: 1)")
    one.add_argument("--final-yield", type=float, default=1.0, metavar="SHARE", help="of packaged dies that work "
                     "(default: 1)")
    one.add_argument("--confidence", type=float, metavar="SHARE", help="wafers enough with this probability, not in "
                     "the mean")
    one.add_argument("--lead", type=int, default=0, metavar="PERIODS", help="from the start of a wafer to the unit in "
                     "hand (default: 0)")
    one.add_argument("--unit-usd", type=float, metavar="USD", help="what a working unit brings: tells the revenue at "
                     "stake")
    one.add_argument("--d0-step", type=float, metavar="PER_CM2", help="for which fall of D0 the gain is told (default: "
                     "a tenth)")
    add_png(one, "wafers and demand by period")


def carry_out(asked: argparse.Namespace) -> Document:
    """Starts by period, and what is at stake."""
    from archfab.silicon.yields.checks import doubts as of_units
    from archfab.silicon.yields.dies import dies_per_wafer, doubts
    from archfab.silicon.yields.starts import Product, plan_starts
    area, width, height = area_of(asked)
    wafer = wafer_of(asked)
    months = _demand(asked.demand)
    if asked.d0 is None and asked.node is None and all(month.d0_per_cm2 is not None for month in months):
        asked.d0 = months[-1].d0_per_cm2
    defects = defects_of(asked)
    dies = dies_per_wafer(None, wafer.diameter_mm, wafer.edge_mm, wafer.scribe_mm, width, height, wafer.how)
    if not dies:
        raise UsageError(f"no die of {width:.6g} mm x {height:.6g} mm fits on the wafer")

    def product(d0: float) -> Product:
        return Product(area, dies, d0, defects.alpha, defects.model, defects.layers, asked.line_yield,
        asked.final_yield)

    here = product(defects.d0)
    rows = [asdict(start) for start in plan_starts(months, here, asked.lead, asked.confidence)]
    wafers = sum(row["wafers"] for row in rows)
    ends: list[Any] = [None, None]
    varies = any(month.d0_per_cm2 is not None for month in months)
    if defects.ends and not varies:
        ends = [sum(start.wafers for start in plan_starts(months, product(d0), asked.lead, asked.confidence))
                for d0 in defects.ends]
    stake = None if asked.unit_usd is None else _stake(rows, product, asked, None if varies else defects.ends)
    draw(asked.png, lambda: _figure(rows))
    units = sum(month.units for month in months)
    same = None if varies else here             # figures that periods have for themselves where they differ
    return {"wafers": wafers, "low": ends[0], "high": ends[1], "units": units, "confidence": asked.confidence,
            "periods": rows, "lead": asked.lead, "units_per_start": same and same.units_per_start(),
            "dies_per_wafer": dies, "yield": same and same.good(), "line_yield": asked.line_yield,
            "final_yield": asked.final_yield, "area_mm2": area, **defects.plain(),
            **({"d0_per_cm2": None, "d0_low": None, "d0_high": None, "source": None} if varies else {}), "stake": stake,
            "warnings": list(dict.fromkeys([*defects.notes, *of_units([row["d0_per_cm2"] for row in rows], area),
                                            *doubts(wafer.diameter_mm)]))}


def _stake(rows: Sequence[Mapping[str, Any]], product: Callable[[float], Product], asked: argparse.Namespace,
           ends: tuple[float, float] | None) -> dict[str, Any]:
    """Money over all periods, each with its own density; the revenue at the ends of D0 where it is the same in all."""
    from archfab.silicon.yields.starts import at_stake
    each = [asdict(at_stake(row["wafers"], product(row["d0_per_cm2"]), asked.unit_usd, asked.d0_step)) for row in rows]
    steps = {stake.pop("step_per_cm2") for stake in each}
    low, high = [sum(at_stake(row["wafers"], product(d0), asked.unit_usd, 0).revenue_usd for row in rows)
                 for d0 in reversed(ends)] if ends else (None, None)
    return {**{key: sum(stake[key] for stake in each) for key in each[0]},
            "step_per_cm2": steps.pop() if len(steps) == 1 else None, "revenue_low_usd": low, "revenue_high_usd": high}


def _demand(text: str) -> list[Month]:
    from archfab.silicon.yields.checks import from_zero
    from archfab.silicon.yields.starts import Month
    try:
        units = float(text)
    except ValueError:
        return _periods(Path(text))
    return [Month("demand", float(from_zero("a demand", units)))]


def _periods(path: Path) -> list[Month]:
    from archfab.silicon.yields.starts import Month
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, names = list(reader), [name.strip() for name in reader.fieldnames or ()]
    except FileNotFoundError:
        raise UsageError(f"the demand '{path}' is neither a number nor a file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is no CSV file: {error}") from None
    if not {"period", "units"} <= set(names) or not rows:
        raise UsageError(f"{path} has the columns {', '.join(names) or 'none'}; it needs period and units, and may "
                         "have d0, with a row for each period")
    found = []
    for number, row in enumerate(rows, 2):
        cells = {str(key).strip(): value for key, value in row.items()}
        units = _number(f"{path}, line {number}", "units", cells)
        d0 = _number(f"{path}, line {number}", "d0", cells) if (cells.get("d0") or "").strip() else None
        found.append(Month(str(cells["period"]).strip(), units, d0))
    return found


def _number(where: str, name: str, cells: Mapping[str, Any]) -> float:
    try:
        value = float(cells.get(name) or "")
        if math.isfinite(value) and value >= 0:
            return value
    except ValueError:
        pass
    raise UsageError(f"{where}: {name} '{cells.get(name)}' is no number from 0 up")


def _figure(rows: Any) -> Any:
    from archfab.silicon.yields.pictures import starts_chart
    return starts_chart(rows)


def shown(document: Document) -> None:
    """The sum, the periods where there are several, what is at stake."""
    from archfab.terminal import say, show_table
    yields = sorted({f"{100 * row['good_die_yield']:.2f}" for row in document["periods"]}, key=float)
    good = yields[0] if len(yields) == 1 else f"{yields[0]} to {yields[-1]}"
    sure = "in the mean" if document["confidence"] is None else f"with a probability of {document['confidence']:g}"
    ends = "" if document["low"] is None else f" ({document['low']} to {document['high']} over the interval of D0)"
    say(f"{document['wafers']} wafers{ends} give {document['units']:,.0f} units {sure}: "
        f"{document['dies_per_wafer']:.1f} dies a wafer, {good} % good")
    if len(document["periods"]) > 1 or document["lead"]:
        show_table(["start in period", "wafers", "for", "units", "D0", "yield %"],
                   [[row["period"], row["wafers"], row["for_month"], f"{row['units']:,.0f}", row["d0_per_cm2"],
                     f"{100 * row['good_die_yield']:.2f}"] for row in document["periods"]])
    if stake := document["stake"]:
        ends = "" if stake["revenue_low_usd"] is None else (
            f" ({stake['revenue_low_usd']:,.0f} to {stake['revenue_high_usd']:,.0f} over the interval of D0)")
        say(f"these wafers bring {stake['revenue_usd']:,.0f} USD{ends}; the bad dies would have brought "
            f"{stake['lost_usd']:,.0f}")
        step = "a tenth" if stake["step_per_cm2"] is None else f"{stake['step_per_cm2']:g} per cm2"
        say(f"one point of yield is {stake['per_point_usd']:,.0f} USD; D0 lower by {step} is "
            f"{stake['per_step_usd']:,.0f} USD")
    tell_sources(document)
    warn(document)
