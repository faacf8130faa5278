"""One supernet, fronts for several devices, and what delivered networks lose to the same ones trained alone.

    python benchmarks/supernet_fronts.py --data $ARCHFAB_DATA/fashion-mnist/fashion_mnist_20k_10k.npz
    python benchmarks/supernet_fronts.py --data ... --minutes 20 --csv benchmarks/results/supernet-fronts-2-cores.csv

Shared weights are trained once, for `--minutes`. Then each device's front is searched on them within its limits, and
some networks of it are delivered with their shared weights, tuned for `--finetune` epochs. Each of these is then
trained from scratch for as long as any delivered network is; both are scored on test data. Runs are kept.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from rows import row, show

import archfab
from archfab import registry
from archfab.core import Budget
from archfab.deliver import load_model
from archfab.evaluate import Workbench
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.runs import Run

DEVICES = {"cortex-m7": "latency_ms<=10", "raspberry-pi-4": "latency_ms<=2", "edge-npu": "latency_ms<=0.3"}


def searched(folder: Path, asked: argparse.Namespace, **options: Any) -> Run:
    if (folder / "run.sqlite").exists():
        run = Run(folder)
        return run if run.finished else archfab.resume(folder)
    common = {"data": str(asked.data), "space": "mobile", "estimator": "supernet", "random": False, "run": folder,
              "threads": asked.threads, "seed": asked.seed}
    return archfab.search("vision", **{**common, **options})


def alone(bench: Workbench, genotype: Any, seed: int) -> float:
    """Test error of a network trained from scratch at the task's full budget."""
    rng = random.Random(f"alone:{seed}")
    seed_torch(rng)
    model = build(bench.space, genotype, bench.example or ())
    bench.task.fit(model, Budget.from_plain(bench.spec.full_budget), rng, full=True)
    return float(bench.task.score(model, "test")["error"])


def measure(asked: argparse.Namespace) -> list[dict[str, Any]]:
    supernet = searched(asked.runs / "supernet", asked, strategy="random", trials=12, deliver=0, minimize=["error"],
                        options={"sampling": asked.sampling, "minutes": asked.minutes, "check": asked.check})
    rows = [row("supernet: lessons", supernet.plain()["lessons"], "epochs"),
            row("supernet: time, with the check", supernet.seconds / 60, "min")]
    if known := supernet.plain().get("ranking"):
        rows.append(row("supernet: kendall with training alone", known["kendall"], f"on {known['number']} networks",
                        higher_is_better=True))
    task = registry.load("tasks", "vision")(data=str(asked.data))
    runs = {device: searched(asked.runs / device, asked, device=device, strategy="auto", trials=asked.trials,
                             budget=f"{asked.seconds}s", minimize=["error", "latency_ms"], deliver=asked.deliver,
                             limits=[limit], options={"supernet": str(asked.runs / "supernet"),
                                                      "finetune": asked.finetune})
            for device, limit in DEVICES.items()}
    known_alone: dict[str, float] = {}
    cache = asked.runs / f"alone-{asked.data.stem}-{asked.seed}.json"
    if cache.exists():
        known_alone = json.loads(cache.read_text())
    losses = []
    for device, run in runs.items():
        rows.append(row(f"{device}, {DEVICES[device]}: front, delivered", run.seconds, "s", 120.0,
                        peers={"networks tried": run.count("search", "ok"), "in the front": len(run.front)}))
        bench = Workbench(run.spec, task)
        for member in run.front:
            if member.delivered:
                if member.id not in known_alone:
                    known_alone[member.id] = alone(bench, member.genotype, asked.seed)
                    cache.write_text(json.dumps(known_alone))
                shared = float(task.score(load_model(member.bundle), "test")["error"])      # type: ignore[arg-type]
                losses.append(100 * (shared - known_alone[member.id]))
                rows.append(row(f"{device}: {member.id[:6]} loses to itself trained alone", losses[-1],
                                "% of accuracy", 1.0, peers={"error": shared, "error alone": known_alone[member.id],
                                                            "latency_ms": member.metrics["latency_ms"]}))
    return [*rows, row("worst loss of a delivered network", max(losses, default=float("nan")), "% of accuracy", 1.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--sampling", default="spos")
    parser.add_argument("--check", type=int, default=0)
    parser.add_argument("--deliver", type=int, default=1, help="networks of each device's front")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seconds", type=int, default=35, help="of each device's search, without the delivery")
    parser.add_argument("--finetune", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/supernet-fronts"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.runs.mkdir(parents=True, exist_ok=True)
    show(measure(asked), asked.json, asked.csv, "python benchmarks/supernet_fronts.py --data FASHION-MNIST")


if __name__ == "__main__":
    main()
