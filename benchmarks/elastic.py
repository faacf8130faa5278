"""What sharing weights costs: switching to a network, running it, and the memory of all of them together.

    python benchmarks/elastic.py                     # a table
    python benchmarks/elastic.py --json              # rows for machines
    python benchmarks/elastic.py --csv benchmarks/results/elastic-2-cores.csv

One thread, CPU seconds, medians over random networks of each space. A network's forward pass on the shared weights and
in the extracted copy are measured in turns, at batch 1 and 64. Memory counts parameters and buffers. In `sliced`, all
decisions are sizes (inverted residuals with open width, depth, kernel and expansion, as in Once-for-All); `mobile` has
choices among three kinds of blocks besides, each with its own weights, so its supernet holds more than one network.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rows import row, show

from archfab import Space, choose, nn, registry, repeat
from archfab.lowering.elastic import Elastic

SIZE, NETWORKS, WARM = 28, 60, 200


def sliced() -> Any:
    """Inverted residuals of open width, depth, kernel and expansion."""
    width = choose("width", 16, 24, 32)

    def stage(i: int) -> Any:
        return repeat(choose(f"depth{i}", 2, 3, 4), lambda j: nn.MBConv(
            width * (i + 1), choose(f"kernel{i}.{j}", 3, 5, 7), choose(f"expand{i}.{j}", 3, 4, 6), 2 if j == 0 else 1))

    return nn.Sequential(nn.ConvNormAct(width, 3), *(stage(i) for i in range(3)), nn.Classifier(10))


def spaces() -> dict[str, Space]:
    task = registry.load("tasks", "vision")(size=SIZE)
    return {"sliced": Space(sliced()), **{name: Space(task.space(name)) for name in ("mobile", "attention", "cell")}}


def timed(work: Callable[[], Any], number: int) -> float:
    start = time.process_time()
    for _ in range(number):
        work()
    return (time.process_time() - start) / number


def switching(net: Elastic, rng: random.Random) -> tuple[float, float]:
    """Milliseconds to the next random network: the first ones after the start, and once many were met."""
    first, later = [], []
    for i in range(WARM + NETWORKS):
        genotype = net.space.sample(rng)
        spent = 1e3 * timed(lambda genotype=genotype: net.at(genotype), 1)      # type: ignore[misc]
        (first if i < NETWORKS else later if i >= WARM else []).append(spent)
    return statistics.median(first), statistics.median(later)


@torch.inference_mode()
def forward_ratio(net: Elastic, rng: random.Random, batch: int) -> float:
    """The time of a forward pass on the shared weights over that of the extracted network."""
    x = torch.randn(batch, 1, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    ratios = []
    for _ in range(12):
        genotype = net.space.sample(rng)
        view, plain = net.at(genotype).eval(), net.extract(genotype).to(memory_format=torch.channels_last).eval()
        number = max(2, int(0.05 / max(1e-4, timed(lambda plain=plain: plain(x), 3))))      # type: ignore[misc]
        both = [[timed(lambda each=each: each(x), number) for each in (view, plain)] for _ in range(5)]    # type: ignore
        ratios.append(statistics.median(a for a, _ in both) / statistics.median(b for _, b in both))
    return statistics.median(ratios)


def elements(module: torch.nn.Module) -> int:
    return sum(x.numel() * x.element_size() for x in [*module.parameters(), *module.buffers()])


def measure() -> list[dict[str, Any]]:
    rows = []
    for name, space in spaces().items():
        torch.manual_seed(0)
        rng = random.Random(0)
        start = time.process_time()
        net = Elastic(space, (torch.zeros(1, 1, SIZE, SIZE),)).to(memory_format=torch.channels_last)
        made = time.process_time() - start
        end = "" if name == "sliced" else f", {name}"
        first, later = switching(net, rng)
        rows += [row(f"subnet switch ms{end}", later, "ms", 1.0, peers={"among the first 60": first}),
                 *(row(f"subnet forward ratio{end}" + (f", batch {batch}" if batch > 1 else ""),
                       forward_ratio(net, rng, batch), "times", 1.1) for batch in (1, 64)),
                 row(f"supernet memory ratio{end}", elements(net) / elements(net.extract(net.largest)), "times", 1.1),
                 row(f"making the supernet{end}", made, "CPU s")]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    show(measure(), asked.json, asked.csv, "python benchmarks/elastic.py")


if __name__ == "__main__":
    main()
