"""What delivered classifiers say of new images: the class of each, and how probable each class is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archfab.core import Exhibit, UsageError
from archfab.silicon.wafers.reading import read_maps
from archfab.tasks.vision import wafers
from archfab.tasks.vision.unlabelled import read_unlabelled

CHUNK = 256         # images at a time


def predicted(models: Sequence[Any], preprocessing: Mapping[str, Any], data: str,
              codes: str | None = None) -> Iterable[Exhibit]:
    """The mean of the networks' probabilities for each image, and its most probable class.

    :param codes: of wafer maps, what their numbers mean, see `read_maps`.
    """
    if not {"size", "kind"} <= set(preprocessing):
        raise UsageError("this bundle was written before it said how images are read; deliver the network again: "
                         "archfab export RUN ID")
    channels, height, width = preprocessing["size"]
    if preprocessing["kind"] == wafers.KIND:
        what, (names, x) = "map", wafer_maps(Path(data), height, codes)
    elif codes is not None:
        raise UsageError("codes are of wafer maps, and this network takes images; leave --codes out")
    else:
        what, (names, x) = "image", read_unlabelled(Path(data), (channels, height, width))
    chances = probabilities(models, preprocessing, x)
    classes, best = preprocessing["classes"], chances.argmax(1)
    return [Exhibit.table("predictions.csv", f"The most probable class of each {what}, its probability, and those of "
                          "all classes.", [what, "class", "probability", *(f"p({name})" for name in classes)],
                          [[name, classes[at], float(row[at]), *map(float, row)]
                           for name, at, row in zip(names, best, chances, strict=True)])]


def probabilities(models: Sequence[Any], preprocessing: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    """Of images uint8 [N, C, H, W], the mean over networks [N, classes]."""
    mean, std = (torch.tensor(preprocessing[key], dtype=torch.float32).view(1, -1, 1, 1) for key in ("mean", "std"))
    said = []
    with torch.inference_mode():
        for part in torch.from_numpy(x).split(CHUNK):
            ready = (part.float() * preprocessing["scale"] - mean) / std
            said.append(torch.stack([model(ready).double().softmax(1) for model in models]).mean(0))
    return torch.cat(said).numpy()


def wafer_maps(path: Path, size: int, codes: str | None = None) -> tuple[list[str], np.ndarray]:
    """The names of wafer maps and their images, from whatever `read_maps` reads, or a folder of such files."""
    files = sorted(each for each in path.iterdir() if each.is_file() and each.suffix.lower() in
                   (".npz", ".npy", ".csv", ".txt", ".klarf", ".kla")) if path.is_dir() else [path]
    found = [wafer for file in files for wafer in read_maps(file, codes)]
    if not found:
        raise UsageError(f"{path} has no wafer maps (.npz, .npy, .csv, .txt, .klarf)")
    return [wafer.name for wafer in found], wafers.drawn([np.minimum(wafer.values, 1) + 1 for wafer in found], size)
