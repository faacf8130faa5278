"""A network searched together with its chip, beside a network searched for a chip that is given.

    python benchmarks/joint.py --png docs/joint-search.png --csv benchmarks/results/joint-2-cores.csv

Three ways to a network and a chip for it, on the digits, within the same latency: the chip is given (`tpu-like`) and
the network is searched; then, of the networks that came of it, each gets the chip that is cheapest for it; network, bit
widths and chip (array, buffer, width of multipliers, process node) are searched together (`tpu-like-open`).
Each search has so many trials, and every network whose die cost is compared is trained in full and
scored on test images. Runs are kept, and gone on with when they were interrupted.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rows import row, show

import archfab
from archfab.drawing import FOUND, INK, LINE, OTHER, new_figure, png
from archfab.evaluate import Workbench, load_device
from archfab.metrics.classification import proportion
from archfab.runs import Run
from archfab.space import network_of

FIXED, OPEN = "tpu-like", "tpu-like-open"
IMAGES = 359        # of the digits, to test on


class Member(NamedTuple):
    """A delivered network on its chip: test error with its interval, USD of a good die with its interval."""

    error: float
    low: float
    high: float
    usd: float
    cheapest: float
    dearest: float
    genotype: Any


def searched(device: str, asked: argparse.Namespace) -> Run:
    folder = asked.runs / f"{device}-{asked.seed}"
    if (folder / "run.sqlite").exists():
        run = Run(folder)
        return run if run.finished else archfab.resume(folder)
    return archfab.search(
        "vision", space="bits", device=device, minimize=["error", "die_cost_usd"], limits=[asked.limit],
        strategy=asked.strategy, trials=asked.trials, deliver=asked.deliver, random=False, seed=asked.seed, run=folder,
        trial_budget=archfab.Budget(epochs=asked.epochs), full_budget=archfab.Budget(epochs=asked.full_epochs))


def members(run: Run) -> list[Member]:
    """The delivered networks, by test error."""
    found = []
    for member in run.front:
        if member.delivered:
            cost, error = member.figures["die_cost_usd"], member.plain()["test_error"]
            share = proportion(error, IMAGES)
            found.append(Member(error, share.low, share.high, cost["value"], cost["low"], cost["high"],
                                member.genotype))
    return sorted(found)


def refitted(run: Run, limit: str) -> list[Member]:
    """The networks of a run, each on the cheapest chip on which it keeps the limit."""
    from archfab.core import BuildError, Limit
    bench, device, bound = Workbench(run.spec), load_device(OPEN), Limit.parse(limit)
    chips = [dict(zip(device.decisions, labels, strict=True))
             for labels in itertools.product(*device.decisions.values())]
    found = []
    for member in members(run):
        workload, best = bench.workload(network_of(member.genotype)), None
        for chip in chips:
            try:
                costs = device.decided(chip).cost(workload).figures
            except BuildError:
                continue
            if not bound.excess({name: cost.value for name, cost in costs.items()}):
                usd = costs["die_cost_usd"]
                if best is None or usd.value < best.usd:
                    best = member._replace(usd=usd.value, cheapest=usd.low, dearest=usd.high, genotype={
                        **member.genotype, **{f"device.{name}": label for name, label in chip.items()}})
        if best is not None:
            found.append(best)
    return sorted(found)


def cheapest(found: Sequence[Member], error: float) -> Member | None:
    """The cheapest die with at most this test error."""
    return min((member for member in found if member.error <= error), key=lambda member: member.usd, default=None)


def measure(asked: argparse.Namespace) -> list[dict[str, Any]]:
    fixed, joint = searched(FIXED, asked), searched(OPEN, asked)
    given, chosen, after = members(fixed), members(joint), refitted(fixed, asked.limit)
    best = given[0]
    rows = [row("chip given: test error", best.error, "share of 359 images",
                peers={"low": best.low, "high": best.high}),
            row("chip given: die cost", best.usd, "USD", peers={"low": best.cheapest, "high": best.dearest})]
    for name, found in (("searched together", chosen), ("chip fitted afterwards", after)):
        for words, level in (("at no more test error", best.error), ("within its 95 % interval", best.high)):
            if at := cheapest(found, level):
                rows.append(row(f"{name}: die cost {words}, of the given chip's", at.usd / best.usd, "share",
                                0.5 if found is chosen else None, peers={"test error": at.error, "USD": at.usd}))
            else:
                rows.append(row(f"{name}: die cost {words}, of the given chip's", float("inf"), "share", 0.5))
    rows.append(row("searched together: trials that trained no network anew",
                    sum("the same network" in each["note"] for each in joint.trials()), "trials"))
    if asked.png:
        asked.png.write_bytes(picture((fixed, joint), given, after, chosen))
    for member in chosen:
        print(f"{member.error:.4f} {member.usd:.3f} USD", {name: label for name, label in member.genotype.items()
                                                           if "device" in name or "bits" in name})
    return rows


def picture(runs: Sequence[Run], given: Sequence[Member], after: Sequence[Member], chosen: Sequence[Member]) -> bytes:
    """Left, what the searches saw: validation error over die cost of every trial. Right, what came of it: test error of
    the delivered networks, with intervals."""
    figure, axes = new_figure(2)
    names = ("chip given, network searched", "network, bits and chip searched together")
    for run, color, name in zip(runs, (OTHER, FOUND), names, strict=True):
        rows = [each for each in run.trials() if each["outcome"] == "ok"]
        axes[0].plot([each["die_cost_usd"] for each in rows], [100 * each["error"] for each in rows], "o", color=color,
                     markersize=5, alpha=0.7, label=name)
    axes[0].set_ylabel("error on validation images (%)", color=INK)
    axes[0].set_yscale("symlog", linthresh=1)
    for found, color, name in ((given, OTHER, names[0]), (after, LINE, "the network of the given chip on its cheapest"),
                               (chosen, FOUND, names[1])):
        axes[1].errorbar([m.usd for m in found], [100 * m.error for m in found], fmt="o", color=color, label=name,
                         yerr=[[100 * (m.error - m.low) for m in found], [100 * (m.high - m.error) for m in found]],
                         elinewidth=1, markersize=7, capsize=3)
    axes[1].set_ylabel("error on test images (%)", color=INK)
    axes[1].set_ylim(bottom=0)
    for axis in axes:
        axis.set_xlabel("cost of a good die (USD)", color=INK)
        axis.set_xlim(left=0)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.legend(frameon=False, fontsize=8.5)
    return png(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--full-epochs", type=float, default=60)
    parser.add_argument("--deliver", type=int, default=6)
    parser.add_argument("--strategy", default="auto")
    parser.add_argument("--limit", default="latency_ms<=0.05")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/joint"))
    parser.add_argument("--png", type=Path)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    show(measure(asked), asked.json, asked.csv, "recipes/joint-search.sh")


if __name__ == "__main__":
    main()
