"""Which way of drawing wafer maps, which size, which augmentation and which balance of classes is best: one network,
trained alike on each, scored on the validation part of the WM-811K subset.

    python benchmarks/wafer_study.py --data "$ARCHFAB_DATA/wm811k-subset" --csv benchmarks/results/wafer-study-h200.csv

29 settings with 3 seeds each: minutes on a GPU (`--parts N --part I` divides them among processes), days on two cores.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from archfab.learning import accelerator, rate
from archfab.metrics.classification import confusion, scores
from archfab.silicon.wafers.reading import FAIL, NO_DIE
from archfab.tasks.vision import wafers

SETTINGS: list[dict[str, Any]] = [
    *({"draw": draw} for draw in ("area", "nearest", "nearest as one channel", "bilinear as one channel",
                                  "failing area", "brightest", "area and brightest")),
    *({"size": size} for size in (24, 40, 48, 64)), *({"draw": draw, "size": 48} for draw in ("nearest", "brightest")),
    {"symmetry": "none"}, {"symmetry": "mirrored"}, {"shift": 1}, {"shift": 3}, {"symmetry": "none", "shift": 3},
    *({"by": by, "balance": balance} for by in ("drawing", "weights", "logits") for balance in (0.25, 0.5, 1.0)),
    {"width": 8}, {"width": 32}]
COLUMNS = ("draw", "size", "width", "symmetry", "shift", "by", "balance")
USUAL = ("area", 32, 16, "mirrored and turned", 0, "", 0.0)


def drawn(maps: Sequence[np.ndarray], draw: str, size: int) -> np.ndarray:
    """Maps as images uint8 [N, C, size, size]."""
    if draw == "area":
        return wafers.drawn(maps, size)
    return np.stack([WAYS[draw](wafer, size) for wafer in maps])


def nearest(wafer: np.ndarray, size: int) -> np.ndarray:
    at = (np.minimum(((np.arange(size) + 0.5) * n / size).astype(int), n - 1) for n in wafer.shape)
    codes = wafer[np.ix_(*at)]
    return np.stack([codes == FAIL, codes != NO_DIE]).astype(np.uint8) * 255


def failing_area(wafer: np.ndarray, size: int) -> np.ndarray:
    share, there = wafers.drawn([wafer], size)[0].astype(float)
    return np.rint(np.stack([share * there / 255, there])).astype(np.uint8)


def brightest(wafer: np.ndarray, size: int) -> np.ndarray:
    """A pixel fails where any die that it touches does."""
    rows, columns = ([range(math.floor(i * n / size + 1e-9), max(math.floor(i * n / size + 1e-9) + 1, math.ceil(
        (i + 1) * n / size - 1e-9))) for i in range(size)] for n in wafer.shape)
    kinds = np.stack([wafer == FAIL, wafer != NO_DIE])
    tall = np.stack([kinds[:, row.start:row.stop].any(1) for row in rows], 1)
    return np.stack([tall[:, :, column.start:column.stop].any(2) for column in columns], 2).astype(np.uint8) * 255


def bilinear(wafer: np.ndarray, size: int) -> np.ndarray:
    picture = torch.from_numpy(np.array([0.0, 128.0, 255.0], np.float32)[wafer])[None, None]
    return F.interpolate(picture, (size, size), mode="bilinear").round().byte()[0].numpy()


def one_channel(wafer: np.ndarray, size: int) -> np.ndarray:
    failing, there = nearest(wafer, size)
    return np.where(failing, 255, np.where(there, 128, 0))[None].astype(np.uint8)


WAYS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "nearest": nearest, "nearest as one channel": one_channel, "bilinear as one channel": bilinear,
    "failing area": failing_area, "brightest": brightest,
    "area and brightest": lambda wafer, size: np.concatenate([wafers.drawn([wafer], size)[0],
                                                              brightest(wafer, size)[:1]])}


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
                                  nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Identity() if stride == 1 else nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def network(channels: int, size: int, width: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, width, 3, 2 if size >= 64 else 1, 1, bias=False), nn.BatchNorm2d(width),
                         nn.ReLU(), Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(4 * width, classes))


def augmented(x: torch.Tensor, symmetry: str, shift: int) -> torch.Tensor:
    n, size = len(x), x.shape[2]

    def some() -> torch.Tensor:
        return (torch.rand(n, device=x.device) < 0.5)[:, None, None, None]

    if symmetry != "none":
        x = torch.where(some(), x.flip(3), x)
    if symmetry == "mirrored and turned":
        x = torch.where(some(), x.flip(2), x)
        x = torch.where(some(), x.transpose(2, 3), x)
    if shift:
        down, right = torch.randint(0, 2 * shift + 1, (2, n), device=x.device)
        rows, columns = (start[:, None] + torch.arange(size, device=x.device) for start in (down, right))
        each = torch.arange(n, device=x.device)[:, None, None]
        x = F.pad(x, (shift,) * 4, mode="replicate")[each, :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
    return x


def train(x: torch.Tensor, y: torch.Tensor, asked: dict[str, Any], seed: int, epochs: int) -> Callable[..., Any]:
    """A trained network, as a function of images uint8."""
    torch.manual_seed(seed)
    share = torch.bincount(y).float() / len(y)
    model = network(x.shape[1], x.shape[2], asked["width"], len(share)).to(x.device)
    mean, std = (getattr(x.float(), what)((0, 2, 3), keepdim=True) / 255 for what in ("mean", "std"))
    groups = [{"params": [w for w in model.parameters() if (w.dim() > 1) == large], "weight_decay": decay}
              for large, decay in ((True, 0.02), (False, 0.0))]
    optimizer, steps = torch.optim.AdamW(groups, lr=1e-2), math.ceil(len(y) / 64)
    by, balance = asked["by"], asked["balance"]
    weights = share ** -balance / (share ** (1 - balance)).sum() if by == "weights" else None

    def ask(images: torch.Tensor) -> torch.Tensor:
        return model((images.float() / 255 - mean) / std.clamp(min=0.01))

    for epoch in range(epochs):
        model.train()
        order = torch.multinomial((share ** -balance)[y], len(y), replacement=True) if by == "drawing" else \
            torch.randperm(len(y), device=x.device)
        for step, chosen in enumerate(order.tensor_split(steps)):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * rate((epoch * steps + step) / (steps * epochs), 0.1)
            said = ask(augmented(x[chosen], asked["symmetry"], asked["shift"]))
            said = said + balance * share.log() if by == "logits" else said
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(said, y[chosen], weight=weights, label_smoothing=0.05).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
    model.eval()
    return ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--parts", type=int, default=1, help="processes that share the settings")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="take every so many maps only")
    parser.add_argument("--csv", type=Path, required=True)
    asked = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = {part: wafers.labelled(files)[:2] for part, files in wafers.by_part(
            wafers.files_of(asked.data)).items()}
        wafers.without_copies(kept)
    names = sorted(set(kept["train"][1]))
    at = names.index("Scratch")
    device = accelerator()
    (maps, y), (others, truth) = ((each[0][::asked.every], np.array([names.index(name) for name in each[1]])[
        ::asked.every]) for each in (kept["train"], kept["validation"]))
    with asked.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "seeds", "error", "balanced_error", "macro_f1", "macro_f1 deviation",
                         "scratch recall"])
        for changed in SETTINGS[asked.part::asked.parts]:
            chosen = {**dict(zip(COLUMNS, USUAL, strict=True)), **changed}
            x, new = (torch.from_numpy(drawn(each, chosen["draw"], chosen["size"])).to(device)
                      for each in (maps, others))
            tables = []
            for seed in range(asked.seeds):
                ask = train(x, torch.from_numpy(y).to(device), chosen, seed, asked.epochs)
                with torch.inference_mode():
                    said = torch.cat([ask(each) for each in new.split(1024)]).argmax(1).cpu().numpy()
                tables.append(confusion(truth, said, len(names)))
            found = [scores(table) for table in tables]
            means = [statistics.mean(float(each[key]) for each in found)
                     for key in ("error", "balanced_error", "macro_f1")]
            spread = statistics.stdev(float(each["macro_f1"]) for each in found) if len(found) > 1 else 0.0
            scratch = statistics.mean(table[at, at] / table[at].sum() for table in tables)
            writer.writerow([*chosen.values(), asked.seeds, *(f"{v:.4f}" for v in (*means, spread, scratch))])
            file.flush()


if __name__ == "__main__":
    main()
