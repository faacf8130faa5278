"""Image classification: MNIST-like files, .npz archives, image folders; scikit-learn's digits by default."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from archfab.core import Budget, Estimate, Metrics, Task, UsageError, unknown
from archfab.learning import Recipe, accelerator, fit
from archfab.tasks.vision.data import Images, read_images, split_off

if TYPE_CHECKING:
    from archfab.space.descriptions import Description

SPLIT_SEED = 0      # the parts stay the same for every run, so that runs can be compared


class Vision(Task):
    """Classifies images. Test images are never seen by a search.

    :param data: IDX files, an .npz, an image folder or a .zip of one; the digits of scikit-learn without it.
    :param size: images are brought to this height and width.
    :param validation: the share of the training images that a search is scored on.
    :param flip: whether mirror images are the same class: yes, no, or auto (yes for photographs).
    :param shift: how far images are moved about in training, as a share of their size, in whole pixels.
    :param optimizer: adamw or sgd.
    :param lr: the highest learning rate.
    :param batch: images of one training step.
    :param weight_decay: of the weights; norms and biases have none.
    :param label_smoothing: the share of each label that is spread over all classes.
    :param patience: epochs without a better validation score that end a training; 0: never.
    :param channels: width of the spaces `cell` and `darts`.
    :param cells: cells in a stage of these spaces.
    """

    name = "vision"
    scores = ("error", "loss")
    spaces = ("mobile", "cell", "darts", "attention", "bits")

    def __init__(self, *, data: str | None = None, size: int | None = None, validation: float = 0.15,
                 flip: str = "auto", shift: float = 0.1, optimizer: str = "adamw", lr: float = 1e-2,
                 batch: int = 64, weight_decay: float = 0.02, label_smoothing: float = 0.05, patience: int = 0,
                 channels: int = 16, cells: int = 1) -> None:
        if not 0 < validation < 1:
            raise UsageError(f"validation is a share of the training images above 0 and below 1, not {validation}")
        if flip not in ("auto", "yes", "no") or not 0 <= shift < 0.5:
            raise UsageError("flip is yes, no or auto; shift is a share of the image from 0 to below 0.5")
        if channels < 1 or cells < 1:
            raise UsageError("channels and cells are whole numbers from 1 up")
        self.recipe = Recipe(optimizer=optimizer, lr=lr, batch=batch, weight_decay=weight_decay,
                             label_smoothing=label_smoothing, patience=patience)
        self.images = read_images(data, size)
        self.channels, self.cells = channels, cells
        self.parts = split(self.images, validation)
        self.flip = flip == "yes" or (flip == "auto" and self.images.x_train.shape[1] == 3)
        self.shift = int(shift * min(self.images.x_train.shape[2:]))
        x = self.parts["train"][0].astype(np.float32) / 255
        self.mean = x.mean((0, 2, 3)).round(6)
        self.std = np.maximum(x.std((0, 2, 3)), 0.01).round(6)
        self.device = accelerator()
        self.steps_an_epoch = math.ceil(len(x) / batch)

    def space(self, name: str | None = None) -> Description:
        from archfab.tasks.vision import spaces
        size, classes = min(self.images.x_train.shape[2:]), len(self.images.classes)
        name = name or self.spaces[0]
        if name not in self.spaces:
            raise unknown("space", name, self.spaces)
        stacked = (self.channels, self.cells) if name in ("cell", "darts") else ()
        return getattr(spaces, name)(size, classes, *stacked)

    def example(self, batch: int = 1) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(batch, *self.images.x_train.shape[1:]),)

    def budget(self) -> Budget:
        """About 20,000 images seen, in whole epochs from 1 to 10."""
        return Budget(epochs=max(1, min(10, round(20_000 / len(self.parts["train"][1])))))

    def full_budget(self) -> Budget:
        return Budget(epochs=max(12, 4 * (self.budget().epochs or 1)))

    def fit(self, model: nn.Module, budget: Budget, rng: random.Random, full: bool = False,
            rate: float = 1.0) -> list[dict[str, float]]:
        """`full` trains on training and validation images together, for then nothing is left to choose."""
        self.place(model)
        x, y = self.tensors(*(("train", "validation") if full else ("train",)))
        draws = torch.Generator().manual_seed(rng.getrandbits(60))
        return fit(model, lambda: self.epoch(x, y, draws), self.steps(y),
                   lambda batch: self.loss(self.answer(model, batch), batch),
                   replace(self.recipe, lr=self.recipe.lr * rate), budget, None if full else lambda: self.score(model))

    def batches(self, split: Literal["train", "validation"], rng: random.Random,
                part: tuple[float, float] = (0.0, 1.0)) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        x, y = self.tensors(split)
        if part != (0.0, 1.0):
            order = np.random.default_rng(SPLIT_SEED + 2).permutation(len(y))
            kept = torch.from_numpy(np.sort(order[round(part[0] * len(y)):round(part[1] * len(y))])).to(self.device)
            x, y = x[kept], y[kept]
        return self.epoch(x, y, torch.Generator().manual_seed(rng.getrandbits(60)), augment=split == "train")

    def loss(self, answer: torch.Tensor, batch: Any) -> torch.Tensor:
        return F.cross_entropy(answer, batch[1], label_smoothing=self.recipe.label_smoothing)

    def distance(self, answer: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The cross-entropy with the other's class probabilities as the truth (Hinton et al., 2015, temperature 1)."""
        return F.cross_entropy(answer, other.softmax(1))

    def epoch(self, x: torch.Tensor, y: torch.Tensor, draws: torch.Generator,
              augment: bool = True) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All images once, in batches of nearly equal size: none of a single image."""
        for chosen in torch.randperm(len(y), generator=draws).tensor_split(self.steps(y)):
            yield self.augment(x[chosen], draws) if augment else x[chosen], y[chosen]

    def steps(self, y: torch.Tensor) -> int:
        return math.ceil(len(y) / self.recipe.batch)

    def tensors(self, *names: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels of some parts, on the device."""
        x = self.normal(np.concatenate([self.parts[name][0] for name in names]))
        return x, torch.from_numpy(np.concatenate([self.parts[name][1] for name in names])).to(self.device)

    def score(self, model: nn.Module, split: Literal["validation", "test"] = "validation") -> Metrics:
        """The share of images classified wrongly, and the mean negative log-likelihood."""
        images, labels = self.parts[split]
        self.place(model).eval()
        x, y = self.normal(images), torch.from_numpy(labels)
        with torch.inference_mode():
            logits = torch.cat([model(part) for part in x.split(256)]).cpu()
        return {"error": proportion(float((logits.argmax(1) != y).double().mean()), len(y)),
                "loss": float(F.cross_entropy(logits.double(), y))}

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device, in the memory layout in which convolutions are fastest."""
        return model.to(self.device, memory_format=torch.channels_last)     # type: ignore[call-overload]

    def inputs(self, number: int) -> tuple[torch.Tensor, ...]:
        return (self.normal(self.parts["test"][0][:number]).cpu(),)

    def preprocessing(self) -> dict[str, Any]:
        """What is done to an image of values 0 to 255 before the network sees it."""
        return {"input": "float32 NCHW", "scale": 1 / 255, "mean": self.mean.tolist(), "std": self.std.tolist(),
                "classes": list(self.images.classes)}

    def baseline(self) -> dict[str, Metrics]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.naive_bayes import MultinomialNB
        flat = {name: x.reshape(len(x), -1) / np.float32(255) for name, (x, _) in self.parts.items()}
        methods = {"naive Bayes": MultinomialNB(), "linear": LogisticRegression(max_iter=100)}
        found: dict[str, Metrics] = {}
        for name, method in methods.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")     # 100 iterations are enough for a baseline
                method.fit(flat["train"], self.parts["train"][1])
            found[name] = {key: float(np.mean(method.predict(flat[part]) != self.parts[part][1]))
                           for key, part in (("error", "validation"), ("test_error", "test"))}
        return found

    def normal(self, images: np.ndarray) -> torch.Tensor:
        """uint8 [N, C, H, W] to floats of mean 0 and deviation 1 by channel, on the device."""
        x = torch.from_numpy(images).to(self.device).float().div_(255)
        mean, std = (torch.from_numpy(v).to(self.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return x.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)

    def augment(self, x: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        """Images moved by up to `shift` pixels and, where that keeps the class, mirrored; each on its own."""
        n, _, height, width = x.shape
        if self.flip:
            mirrored = (torch.rand(n, generator=draws) < 0.5).to(x.device)
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        if self.shift:
            padded = F.pad(x, (self.shift,) * 4, mode="replicate")
            down, right = torch.randint(0, 2 * self.shift + 1, (2, n), generator=draws).to(x.device)
            rows = down[:, None] + torch.arange(height, device=x.device)
            columns = right[:, None] + torch.arange(width, device=x.device)
            each = torch.arange(n, device=x.device)[:, None, None]
            x = padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return x


def proportion(value: float, n: int) -> Estimate:
    """A share of `n` images with Wilson's interval (JASA 1927)."""
    z = 1.96
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return Estimate(value, max(0.0, middle - half), min(1.0, middle + half))


def split(images: Images, validation: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Training, validation and test parts; where the data has no test part, a fifth is set aside as one."""
    x, y = images.x_train, images.y_train
    if images.x_test is not None and images.y_test is not None:
        test = (images.x_test, images.y_test)
    else:
        kept, aside = split_off(y, 0.2, SPLIT_SEED)
        test, x, y = (x[aside], y[aside]), x[kept], y[kept]
    kept, aside = split_off(y, validation, SPLIT_SEED + 1)
    return {"train": (x[kept], y[kept]), "validation": (x[aside], y[aside]), "test": test}


export = Vision
