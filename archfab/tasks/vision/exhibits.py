"""What a delivered classifier shows on test images: which classes it takes for which, and how well it finds each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

from archfab.core import Exhibit
from archfab.drawing import FOUND, INK, LINE, new_figure, svg
from archfab.metrics.classification import f1, proportion

MOST = 25           # classes of a picture with numbers and names


def exhibits(counts: np.ndarray, classes: Sequence[str], learned: np.ndarray, source: str) -> Iterator[Exhibit]:
    """:param counts: the confusion matrix of test images. :param learned: images of each class to learn from."""
    yield Exhibit("confusion.svg", "Test images: the share of each class (row) that was taken for each (column).",
                  svg(picture(counts, classes)).encode())
    yield Exhibit.table("classes.csv", "How well each class is found on test images: recall with its 95 % interval, "
                        f"precision, F1, and how many images of it there are. Read: {source}.",
                        ["class", "images_to_learn_from", "test_images", "recall", "recall_low", "recall_high",
                         "precision", "f1"], by_class(counts, classes, learned))
    yield Exhibit.table("confusion.csv", "Test images of each class (row) by what they were taken for (column).",
                        ["class", *classes],
                        [[name, *map(int, row)] for name, row in zip(classes, counts, strict=True)])


def by_class(counts: np.ndarray, classes: Sequence[str], learned: np.ndarray) -> list[list[Any]]:
    """A row for each class; a figure that is not defined (no such image, none taken for it) is empty."""
    rows: list[list[Any]] = []
    for i, (name, each) in enumerate(zip(classes, f1(counts), strict=True)):
        hits, n, said = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
        recall = proportion(hits / n, n) if n else None
        rows.append([name, int(learned[i]), n, *([""] * 3 if recall is None else [float(recall), recall.low,
                                                                                 recall.high]),
                     hits / said if said else "", float(each) if n + said else ""])
    return rows


def picture(counts: np.ndarray, classes: Sequence[str]) -> Any:
    """What is right in blue, what is wrong in orange, the darker the larger its share of the row, on a scale of square
    roots so that few mistakes show too; the number of images in each cell that has any."""
    totals, n = counts.sum(1), len(classes)
    depth = np.sqrt(counts / np.maximum(totals, 1)[:, None])
    white, right, wrong = (np.array(to_rgb(color)) for color in ("white", FOUND, LINE))
    colors = np.where(np.eye(n, dtype=bool)[:, :, None], right, wrong)
    figure, (axis,) = new_figure()
    side = min(11.0, 2.6 + 0.52 * n) if n <= MOST else 9.0
    figure.set_size_inches(side + 0.8, side)
    axis.grid(False)
    axis.imshow(white + depth[:, :, None] * (colors - white))
    axis.set(xlabel="taken for", ylabel="is (number of test images)")
    if n <= MOST:
        axis.set_xticks(range(n), classes, rotation=45, ha="right", fontsize=8)
        axis.set_yticks(range(n), [f"{name} ({total:,})" for name, total in zip(classes, totals, strict=True)],
                        fontsize=8)
        for row, column in zip(*np.nonzero(counts), strict=True):
            axis.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=7,
                      color="white" if depth[row, column] > 0.7 else INK)
    axis.set_title(f"{int(np.trace(counts)):,} of {counts.sum():,} test images are right", fontsize=10, color=INK,
                   loc="left")
    return figure
