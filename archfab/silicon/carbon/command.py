"""The words of `archfab silicon` that this room answers: carbon, bill, grid, footprint, inventory."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError
from archfab.silicon.files import save, write
from archfab.silicon.words import Document, Word

if TYPE_CHECKING:
    from archfab.silicon.carbon.grids import Grid
    from archfab.silicon.carbon.product import Product


def add(word: Word) -> None:
    """The words, their options, what does them and how the answers are shown."""
    from archfab.silicon.carbon import showing
    made = word("carbon", "what a chip emits from the fab to its last day",
                "archfab silicon carbon --area-mm2 100 --node 7 --yield 0.9 --energy-mj 2 --inferences-per-day 1e6 "
                "--years 4 --grid FRA --pue 1.2 --png life.png", carbon, showing.show_carbon)
    made.add_argument("--area-mm2", type=float, required=True, help="of the die")
    made.add_argument("--node", required=True, metavar="NM", help="process node: 28, 14, 7, 5, 3")
    made.add_argument("--yield", type=float, dest="yield_", metavar="SHARE",
                      help="good dies as a share of all (default: by --model, --d0 and --alpha, as archfab silicon "
                           "yield says; ACT takes 0.875)")
    made.add_argument("--model", default="negative-binomial", metavar="NAME",
                      help="of the yield (default: %(default)s)")
    made.add_argument("--d0", type=float, metavar="PER_CM2", help="killing defects per cm2 (default: the node's)")
    made.add_argument("--alpha", type=float, metavar="A", help="of negative-binomial: small is clustered")
    made.add_argument("--layers", type=float, metavar="N", help="of bose-einstein")
    made.add_argument("--yield-uncertainty", type=float, metavar="PERCENT",
                      help="half of the yield's 95 %% interval (default: that of the node's defects, else 0)")
    made.add_argument("--energy-mj", type=float, required=True, help="of one inference (archfab cost ... --device ...)")
    made.add_argument("--energy-uncertainty", type=float, default=0.0, metavar="PERCENT",
                      help="half of its 95 %% interval (default: 0)")
    made.add_argument("--inferences-per-day", type=float, required=True, metavar="N")
    made.add_argument("--years", type=float, required=True, help="of use")
    add_grid(made, "--grid", True, "of use: an ISO code (FRA), a country, a region (USA/california), or g CO2e/kWh")
    made.add_argument("--grid-change", type=float, default=0.0, metavar="PERCENT",
                      help="of the grid's figure a year: -5 is five percent less each year (default: none)")
    made.add_argument("--pue", type=float, required=True,
                      help="power usage effectiveness of where it runs: 1 outside a data centre, 1.56 where nobody "
                           "knows")
    made.add_argument("--idle-w", type=float, default=0.0, help="drawn all the time, beside the inferences")
    made.add_argument("--packages", type=float, default=1.0, help="integrated circuits, 150 g each (default: 1)")
    made.add_argument("--fab-grid", default=None, metavar="GRID", help="of the fab (default: ACT's Taiwan, 583 g/kWh)")
    made.add_argument("--abatement", type=float, default=0.97, metavar="SHARE",
                      help="of its gases that the fab destroys, 0.95 to 0.99 (default: %(default)s)")
    made.add_argument("--charge-wafer", action="store_true",
                      help="the whole wafer, edge and scribe lanes included, is charged to its dies (default: the "
                           "die's own area alone, as ACT does)")
    made.add_argument("--dies-per-wafer", type=float, metavar="N",
                      help="of --charge-wafer (default: counted on the best grid, square dies)")
    made.add_argument("--wafer-mm", type=float, default=300.0, help="diameter (default: 300)")
    made.add_argument("--edge-mm", type=float, help="of --charge-wafer: ring without dies (default: 3)")
    made.add_argument("--scribe-mm", type=float, help="of --charge-wafer: lane between two dies (default: 0.1)")
    made.add_argument("--bill", type=Path, metavar="FILE",
                      help="what else it is made of: a TOML file of [[part]] tables")
    made.add_argument("--replaces-mj", type=float, metavar="MJ",
                      help="energy of an inference on what it replaces: says when making the new one has paid off")
    made.add_argument("--csv", type=Path, metavar="FILE", help="the sums over the years")
    made.add_argument("--png", type=Path, metavar="FILE", help="a picture (.png or .svg)")

    made = word("bill", "what a machine of chips, memories and drives emitted to be made",
                "archfab silicon bill server.toml", bill, showing.show_bill)
    made.add_argument("bill", type=Path, help="a TOML file of [[part]] tables: die, dram, flash, disk, given")

    made = word("grid", "what a kWh of a country's or region's grid emits, location-based",
                "archfab silicon grid FRA; archfab silicon grid USA/california --year 2023", grid, showing.show_grid)
    made.add_argument("place", nargs="?", help="an ISO code, a name, a region")
    made.add_argument("--list", action="store_true", help="every grid of the table")
    add_grid(made)

    made = word("footprint", "what a command emits while it runs, or a past run of archfab emitted",
                "archfab silicon footprint --grid FRA -- archfab search toy --trials 20; archfab silicon footprint "
                "runs/toy-1 --grid FRA --pue 1", footprint, showing.show_footprint)
    made.add_argument("command", nargs="*", metavar="RUN | -- COMMAND",
                      help="a run's name or folder, estimated; or, behind --, a command, measured where the machine "
                           "tells")
    add_grid(made, "--grid", True, "where it runs: an ISO code, a country, a region, or g CO2e/kWh")
    made.add_argument("--pue", type=float,
                      help="power usage effectiveness: 1 outside a data centre (default: 1.56, not well known)")
    made.add_argument("--tdp-w", type=float, metavar="W", help="thermal design power of the whole processor")
    made.add_argument("--cores", type=int, metavar="N", help="of the whole processor that --tdp-w is of")
    made.add_argument("--memory-gb", type=float, metavar="GB",
                      help="that it held (default: of a command, looked up as it runs; of a run, none)")
    made.add_argument("--gpu-w", type=float, default=0.0, metavar="W", help="power of GPUs that do not tell themselves")
    made.add_argument("--usage", type=float, metavar="SHARE",
                      help="of a past run: how busy its threads were (default: 1)")
    made.add_argument("--runs", default=os.environ.get("ARCHFAB_RUNS", "runs"), metavar="DIR",
                      help="where runs are kept (default: %(default)s)")

    made = word("inventory", "scopes 1, 2 and 3 of an organisation, scope 2 location- and market-based",
                "archfab silicon inventory fab.toml --png scopes.png", inventory, showing.show_inventory)
    made.add_argument("inventory", type=Path,
                      help="a TOML file of [[activity]], [[energy]], [[instrument]], [[chips]], [[cloud]] and [[sold]] "
                           "tables")
    made.add_argument("--grids", type=Path, metavar="FILE", help="your CSV of grids: place, year, g_kwh, ...")
    made.add_argument("--csv", type=Path, metavar="FILE", help="every line by both methods")
    made.add_argument("--png", type=Path, metavar="FILE", help="a picture (.png or .svg)")


def add_grid(made: argparse.ArgumentParser, option: str = "", required: bool = False, about: str = "") -> None:
    if option:
        made.add_argument(option, required=required, metavar="GRID", help=about)
    made.add_argument("--year", type=int, help="of the grid (default: the newest that the table has)")
    made.add_argument("--grids", type=Path, metavar="FILE",
                      help="your CSV of grids: place, g_kwh, and name, region, year, low, high, residual_g_kwh, source")


def carbon(asked: argparse.Namespace) -> Document:
    from archfab.silicon.carbon import picture
    from archfab.silicon.carbon.product import footprint_of, over_the_years
    product = product_of(asked)
    found = footprint_of(product)
    if asked.csv or asked.png:
        curve = over_the_years(product)
        if asked.csv:
            write_csv(asked.csv, ["years", "embodied_g", "operational_g", "total_g", "low_g", "high_g"],
                      zip(*(curve[key].tolist() for key in ("years", "embodied", "operational")),
                          (curve["embodied"] + curve["operational"]).tolist(), curve["low"].tolist(),
                          curve["high"].tolist(), strict=True))
        if asked.png:
            save(picture.draw_product(found, curve, f"{product.area_mm2:g} mm2 at {asked.node} nm, "
                                               f"{product.grid.name}"), asked.png)
    never = {"break_even_years": found.break_even_years, "payback_years": found.payback_years}
    return {"embodied_g": found.embodied.plain(), "operational_g": found.operational.plain(),
            "carbon_g": found.both.plain(),
            "carbon_per_inference_ug": found.both.value / found.inferences * 1e6 if found.inferences >= 1 else None,
            "parts_g": dict(found.parts), "yearly_g": found.yearly_g,
            **{name: each and dict(zip(("value", "low", "high"), each, strict=True)) for name, each in never.items()},
            "uncertainty": dict(found.both.shares), "origin": "analytic", "years": product.years,
            "yield": product.yield_, "dies_per_wafer": product.making.dies_per_wafer,
            "grid": plain_grid(product.grid), "fab_grid": plain_grid(product.making.grid), "pue": product.pue,
            "csv": asked.csv and str(asked.csv), "png": asked.png and str(asked.png)}


def product_of(asked: argparse.Namespace) -> Product:
    from archfab.silicon.carbon.bill import read_bill
    from archfab.silicon.carbon.embodied import FAB_GRID, PACKAGE_G, Making
    from archfab.silicon.carbon.grids import grid_of
    from archfab.silicon.carbon.product import Product
    fab = FAB_GRID if asked.fab_grid is None else grid_of(asked.fab_grid, None, asked.grids)
    good, spread = yield_of(asked)
    making = Making(fab, asked.abatement, asked.packages, PACKAGE_G, dies_of(asked), asked.wafer_mm, spread)
    return Product(asked.area_mm2, asked.node, good, asked.energy_mj, asked.inferences_per_day, asked.years,
                   grid_of(asked.grid, asked.year, asked.grids), asked.pue, making, asked.idle_w,
                   asked.grid_change / 100, asked.energy_uncertainty / 100,
                   read_bill(asked.bill) if asked.bill else None, asked.replaces_mj)


def yield_of(asked: argparse.Namespace) -> tuple[float, float]:
    """The yield, and half of its 95 % interval as a share of it: as it was given, or by a model of defects."""
    from archfab.silicon.nodes import interval, node
    from archfab.silicon.yields.models import good_die_yield
    given = None if asked.yield_uncertainty is None else asked.yield_uncertainty / 100
    if asked.yield_ is not None:
        if asked.d0 is not None or asked.alpha is not None or asked.layers is not None:
            raise UsageError("the yield is given, and what it would follow from too; leave out --yield, or --d0, "
                             "--alpha and --layers")
        return asked.yield_, given or 0.0

    def good(d0: float) -> float:
        return float(good_die_yield(asked.area_mm2, d0, asked.alpha, asked.model, asked.layers))

    value = good(node(asked.node).d0_per_cm2 if asked.d0 is None else asked.d0)
    if asked.d0 is not None or given is not None:
        return value, given or 0.0
    low, high = (good(node(asked.node).d0_per_cm2 * factor) for factor in interval("d0_per_cm2"))
    return value, abs(low - high) / 2 / value


def dies_of(asked: argparse.Namespace) -> float | None:
    """How many dies share the wafer; None where the die is charged its own area alone."""
    from archfab.silicon.yields.dies import dies_per_wafer
    of_wafer = {"--dies-per-wafer": asked.dies_per_wafer, "--edge-mm": asked.edge_mm, "--scribe-mm": asked.scribe_mm}
    given = [name for name, value in of_wafer.items() if value is not None]
    if not asked.charge_wafer:
        if given:
            raise UsageError(f"{given[0]} is of --charge-wafer: say that too")
        return None
    if asked.dies_per_wafer is not None:
        if given[1:]:
            raise UsageError(f"the dies per wafer are given, so {given[1]} says nothing; leave one of them out")
        return float(asked.dies_per_wafer)
    edge, scribe = 3.0 if asked.edge_mm is None else asked.edge_mm, 0.1 if asked.scribe_mm is None else asked.scribe_mm
    return float(dies_per_wafer(asked.area_mm2, asked.wafer_mm, edge, scribe, how="exact"))


def bill(asked: argparse.Namespace) -> Document:
    from archfab.silicon.carbon.bill import bill_terms, read_bill
    from archfab.silicon.carbon.uncertain import total
    found = read_bill(asked.bill)
    by_part = bill_terms(found)
    whole = total([term for terms in by_part.values() for term in terms])
    return {"name": found.name, "embodied_g": whole.plain(), "origin": "analytic",
            "parts": [{"name": part.name, "count": part.count, "embodied_g": total(by_part[part.name]).plain()}
                      for part in found.parts], "uncertainty": dict(whole.shares)}


def grid(asked: argparse.Namespace) -> Document:
    from archfab.silicon.carbon.grids import grid_table
    table = grid_table(asked.grids)
    if asked.list == (asked.place is not None):
        raise UsageError("say a place (an ISO code such as FRA, a name, a region such as USA/california), or --list")
    if asked.list:
        rows = [each for each in table.grids if asked.year in (None, each.year)]
        if not rows:
            raise UsageError(f"{table.source} has no grid of {asked.year}")
        return {"table": table.source, "method": "location-based", "grids": [plain_grid(each) for each in rows]}
    return {"table": table.source, "method": "location-based", **plain_grid(table.find(asked.place, asked.year))}


def plain_grid(found: Grid) -> dict[str, Any]:
    return {"place": found.place, "name": found.name, "year": found.year, "g_kwh": found.g_kwh, "low": found.low,
            "high": found.high, "residual_g_kwh": found.residual_g_kwh, "source": found.source}


def footprint(asked: argparse.Namespace) -> Document:
    from archfab.silicon.carbon.estimate import core_of, energy_terms
    from archfab.silicon.carbon.footprint import emitted, measure_command, read_run
    from archfab.silicon.carbon.grids import grid_of
    from archfab.silicon.carbon.use import PUE_UNKNOWN, check_pue
    if not asked.command:
        raise UsageError("say what: a run's name or folder, or a command behind --: archfab silicon footprint --grid "
                         "FRA -- archfab search toy")
    where, core = grid_of(asked.grid, asked.year, asked.grids), core_of(asked.tdp_w, asked.cores)
    if asked.pue is not None:
        check_pue(asked.pue)
    energy_terms(core=core, core_hours=0.0, hours=0.0, memory_gb=asked.memory_gb or 0.0, gpu_w=asked.gpu_w)   # checks
    run = run_folder(asked.command, asked.runs)
    if asked.usage is not None and run is None:
        raise UsageError("--usage is of a past run; the processor time of a command is measured")
    spent = read_run(run, asked.memory_gb, 1.0 if asked.usage is None else asked.usage) if run else \
        measure_command(asked.command, quiet=asked.json, memory_gb=asked.memory_gb)
    found = emitted(spent, where, core, asked.pue, asked.gpu_w)
    return {"what": spent.what, "seconds": spent.seconds, "core_seconds": spent.core_seconds,
            "memory_gb": spent.memory_gb,
            "energy_kwh": found.energy_kwh.plain(), "carbon_g": found.carbon_g.plain(), "parts": list(found.parts),
            "origin": "measured" if found.measured == 1 else "analytic", "measured": found.measured,
            "meters": list(spent.meters), "core": core.how if any(
                part["part"] == "processor" and part["origin"] == "analytic" for part in found.parts) else None,
            "pue": PUE_UNKNOWN if asked.pue is None else asked.pue, "pue_given": asked.pue is not None,
            "grid": plain_grid(where), "uncertainty": dict(found.carbon_g.shares), "notes": list(spent.notes),
            "exit": spent.exit}


def run_folder(words: list[str], runs: str) -> Path | None:
    """The run that one word names; None where it is a command."""
    if len(words) != 1:
        return None
    for folder in (Path(words[0]), Path(runs) / words[0]):
        if (folder / "run.sqlite").exists():
            return folder
    if os.sep in words[0] and Path(words[0]).is_dir():
        raise UsageError(f"there is no run at {words[0]} (no file run.sqlite in it)")
    return None


def inventory(asked: argparse.Namespace) -> Document:
    from archfab.silicon.carbon import picture
    from archfab.silicon.carbon.inventory import BOTH, add_up, read_inventory
    found = read_inventory(asked.inventory, asked.grids)
    sums = {method: add_up(found, method) for method in BOTH}
    lines: list[dict[str, Any]] = [
        {"name": name, "scope": scope, "category": category.removesuffix(", market-based"),
         **{f"{method}_kg": sums[method].lines[name].plain() for method in BOTH}}
        for name, (scope, category) in sums["market"].placed.items()]
    if asked.csv:
        write_csv(asked.csv, ["name", "scope", "category", *(f"{method}_kg{end}" for method in BOTH
                                                             for end in ("", "_low", "_high"))],
                  [[line["name"], line["scope"], line["category"], *(line[f"{method}_kg"][key] for method in BOTH
                                                                     for key in ("value", "low", "high"))]
                   for line in lines])
    if asked.png:
        save(picture.draw_inventory(sums, f"{found.organisation}, {found.year}"), asked.png)
    return {"organisation": found.organisation, "year": found.year, "gwp": "IPCC AR6, 100 years", "grids": found.source,
            **{f"total_{method}_kg": sums[method].whole.plain() for method in BOTH},
            "scopes": {f"{scope}{f' {method}-based' if scope == '2' else ''}": each.plain() for method in BOTH
                       for scope, each in sums[method].scopes.items()},
            "categories": {f"{scope}: {name}": each.plain() for method in BOTH
                           for (scope, name), each in sums[method].categories.items()},
            "lines": lines, "uncertainty": dict(sums["market"].whole.shares), "notes": found.notes(),
            "csv": asked.csv and str(asked.csv), "png": asked.png and str(asked.png)}


def write_csv(path: Path, header: list[str], rows: Any) -> None:
    from archfab.core import Exhibit
    write(path, Exhibit.table(path.name, "", header, rows).content)
