"""Image classification: MNIST-like files, .npz, image folders, wafer maps; scikit-learn's digits by default."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from archfab.core import Budget, Exhibit, Goals, Metrics, Task, UsageError, unknown
from archfab.learning import Recipe, accelerator, fit
from archfab.metrics.classification import confusion, scores
from archfab.tasks.vision.data import Images, read_images, split_off

if TYPE_CHECKING:
    from archfab.space.descriptions import Description

SPLIT_SEED = 0      # the parts stay the same for every run, so that runs can be compared
UNEVEN = 10         # the commonest class has so many times the images of the rarest: then classes are balanced
BALANCE = 0.5       # how far


class Vision(Task):
    """Classifies images. Test images are never seen by a search.

    Where the commonest class has ten times the images of the rarest, or more, the balanced error is a goal beside the
    error, and classes are drawn more evenly in training.

    :param data: IDX files, an .npz, an image folder or a .zip of one, or .npz files of wafer maps; the digits of
        scikit-learn without it.
    :param size: images are brought to this height and width; without it wafer maps get 32, images their median.
    :param validation: the share of the training images that a search is scored on, where the data has no such part.
    :param flip: whether mirror images are the same class: yes, no, or auto (yes for photographs and wafer maps).
    :param turn: whether images by quarter turns are the same class: yes, no, or auto (yes for wafer maps).
    :param shift: how far images are moved about in training, as a share of their size, in whole pixels; without it
        0.1, and 0 for wafer maps.
    :param balance: how far rare classes are drawn more often in training: 0 each image once an epoch, 1 each class
        equally often; without it 0.5 where the commonest class has ten times the images of the rarest, else 0.
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
    scores = ("error", "balanced_error", "macro_f1", "loss")
    spaces = ("mobile", "cell", "darts", "attention", "bits")

    def __init__(self, *, data: str | None = None, size: int | None = None, validation: float = 0.15,
                 flip: str = "auto", turn: str = "auto", shift: float | None = None, balance: float | None = None,
                 optimizer: str = "adamw", lr: float = 1e-2, batch: int = 64, weight_decay: float = 0.02,
                 label_smoothing: float = 0.05, patience: int = 0, channels: int = 16, cells: int = 1) -> None:
        if not 0 < validation < 1:
            raise UsageError(f"validation is a share of the training images above 0 and below 1, not {validation}")
        if not {flip, turn} <= {"auto", "yes", "no"} or not 0 <= (shift or 0) < 0.5 or not 0 <= (balance or 0) <= 1:
            raise UsageError("flip and turn are yes, no or auto; shift is a share of the image from 0 to below 0.5, "
                             "balance a number from 0 to 1")
        if channels < 1 or cells < 1:
            raise UsageError("channels and cells are whole numbers from 1 up")
        self.recipe = Recipe(optimizer=optimizer, lr=lr, batch=batch, weight_decay=weight_decay,
                             label_smoothing=label_smoothing, patience=patience)
        self.images = read_images(data, size)
        self.channels, self.cells = channels, cells
        self.parts = split(self.images, validation)
        whole = self.images.kind == "wafer maps"
        channels_, *self.size = self.images.x_train.shape[1:]
        self.flip = flip == "yes" or (flip == "auto" and (whole or channels_ == 3))
        self.turn = turn == "yes" or (turn == "auto" and whole)
        if self.turn and self.size[0] != self.size[1]:
            raise UsageError(f"images of {self.size[0]}x{self.size[1]} pixels cannot be turned; give --size N, or "
                             "--turn no")
        self.shift = int((0.1 * (not whole) if shift is None else shift) * min(self.size))
        counts = np.bincount(self.parts["train"][1])
        uneven = counts.max() >= UNEVEN * counts.min()
        self.goals: Goals = {"balanced_error": "min", "error": "min"} if uneven else {"error": "min"}
        self.balance = BALANCE * uneven if balance is None else balance
        x = self.parts["train"][0].astype(np.float32) / 255
        self.mean = x.mean((0, 2, 3)).round(6)
        self.std = np.maximum(x.std((0, 2, 3)), 0.01).round(6)
        self.device = accelerator()
        self.steps_an_epoch = math.ceil(len(x) / batch)

    def space(self, name: str | None = None) -> Description:
        from archfab.tasks.vision import spaces
        size, classes = min(self.size), len(self.images.classes)
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
        """As many images as there are, in batches of nearly equal size: none of a single image. In training they are
        drawn by the balance of classes, else each comes once."""
        order = torch.randperm(len(y), generator=draws)
        if augment and self.balance:
            order = order[balanced(y.cpu()[order], self.balance, draws)]
        for chosen in order.tensor_split(self.steps(y)):
            yield self.augment(x[chosen], draws) if augment else x[chosen], y[chosen]

    def steps(self, y: torch.Tensor) -> int:
        return math.ceil(len(y) / self.recipe.batch)

    def tensors(self, *names: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels of some parts, on the device."""
        x = self.normal(np.concatenate([self.parts[name][0] for name in names]))
        return x, torch.from_numpy(np.concatenate([self.parts[name][1] for name in names])).to(self.device)

    def score(self, model: nn.Module, split: Literal["validation", "test"] = "validation") -> Metrics:
        """The share of images classified wrongly, of all and as the mean over classes; the mean over classes of F1;
        and the mean negative log-likelihood."""
        logits, y = self.logits(model, split), torch.from_numpy(self.parts[split][1])
        return {**scores(self.confusion(logits, split)), "loss": float(F.cross_entropy(logits.double(), y))}

    def logits(self, model: nn.Module, split: str) -> torch.Tensor:
        self.place(model).eval()
        with torch.inference_mode():
            return torch.cat([model(part) for part in self.normal(self.parts[split][0]).split(256)]).cpu()

    def confusion(self, logits: torch.Tensor, split: str) -> np.ndarray:
        return confusion(self.parts[split][1], logits.argmax(1).numpy(), len(self.images.classes))

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device, in the memory layout in which convolutions are fastest."""
        return model.to(self.device, memory_format=torch.channels_last)     # type: ignore[call-overload]

    def inputs(self, number: int) -> tuple[torch.Tensor, ...]:
        return (self.normal(self.parts["test"][0][:number]).cpu(),)

    def preprocessing(self) -> dict[str, Any]:
        """What is done to an image of values 0 to 255 before the network sees it."""
        return {"input": "float32 NCHW", "scale": 1 / 255, "mean": self.mean.tolist(), "std": self.std.tolist(),
                "classes": list(self.images.classes), "kind": self.images.kind,
                "size": list(self.images.x_train.shape[1:])}

    def exhibits(self, model: nn.Module) -> Iterator[Exhibit]:
        """Which classes are taken for which, and how well each is found."""
        from archfab.tasks.vision.exhibits import exhibits
        learned = np.concatenate([self.parts[part][1] for part in ("train", "validation")])
        return exhibits(self.confusion(self.logits(model, "test"), "test"), self.images.classes,
                        np.bincount(learned, minlength=len(self.images.classes)), self.images.source)

    @classmethod
    def predict(cls, models: Sequence[nn.Module], preprocessing: Mapping[str, Any], data: str, *,
                codes: str | None = None) -> Iterable[Exhibit]:
        """The class of each image or wafer map, and how probable each class is.

        :param codes: of wafer maps, what their numbers mean: wafer, pass, fail or defects; without it as they say
            themselves.
        """
        from archfab.tasks.vision.predicting import predicted
        return predicted(models, preprocessing, data, codes)

    def baseline(self) -> dict[str, Metrics]:
        from sklearn.dummy import DummyClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.naive_bayes import MultinomialNB
        flat = {name: x.reshape(len(x), -1) / np.float32(255) for name, (x, _) in self.parts.items()}
        methods = {"the commonest class": DummyClassifier(), "naive Bayes": MultinomialNB(),
                   "linear": LogisticRegression(max_iter=100)}
        found: dict[str, Metrics] = {}
        for name, method in methods.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")     # 100 iterations are enough for a baseline
                method.fit(flat["train"], self.parts["train"][1])
            found[name] = {f"{key}{score}": float(value) for key, part in (("", "validation"), ("test_", "test"))
                           for score, value in scores(confusion(self.parts[part][1], method.predict(flat[part]),
                                                                len(self.images.classes))).items()}
        return found

    def normal(self, images: np.ndarray) -> torch.Tensor:
        """uint8 [N, C, H, W] to floats of mean 0 and deviation 1 by channel, on the device."""
        x = torch.from_numpy(images).to(self.device).float().div_(255)
        mean, std = (torch.from_numpy(v).to(self.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return x.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)

    def augment(self, x: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        """Images moved by up to `shift` pixels and, where that keeps the class, mirrored or turned; each by itself."""
        n, _, height, width = x.shape
        if self.flip:
            mirrored = (torch.rand(n, generator=draws) < 0.5).to(x.device)
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        if self.turn:
            half, quarter = (torch.rand(2, n, generator=draws) < 0.5).to(x.device)[:, :, None, None, None]
            x = torch.where(half, x.flip(2, 3), x)
            x = torch.where(quarter, x.rot90(1, (2, 3)), x)
        if self.shift:
            padded = F.pad(x, (self.shift,) * 4, mode="replicate")
            down, right = torch.randint(0, 2 * self.shift + 1, (2, n), generator=draws).to(x.device)
            rows = down[:, None] + torch.arange(height, device=x.device)
            columns = right[:, None] + torch.arange(width, device=x.device)
            each = torch.arange(n, device=x.device)[:, None, None]
            x = padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return x


def balanced(y: torch.Tensor, balance: float, draws: torch.Generator) -> torch.Tensor:
    """Which images to take, as many as there are: each class in proportion to its count to the power of 1 - balance.

    By systematic sampling, so each image of a class comes as often as any other of it, give or take one.
    """
    rarer = torch.bincount(y).double() ** -balance
    until = rarer[y].cumsum(0)
    steps = (torch.arange(len(y)) + torch.rand(1, generator=draws).double()) * (until[-1] / len(y))
    taken = torch.searchsorted(until, steps).clamp(max=len(y) - 1)
    return taken[torch.randperm(len(y), generator=draws)]


def split(images: Images, validation: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Training, validation and test parts; where the data has no test part, a fifth is set aside as one."""
    x, y = images.x_train, images.y_train
    if images.x_test is not None and images.y_test is not None:
        test = (images.x_test, images.y_test)
    else:
        kept, aside = split_off(y, 0.2, SPLIT_SEED)
        test, x, y = (x[aside], y[aside]), x[kept], y[kept]
    if images.x_validation is not None and images.y_validation is not None:
        return {"train": (x, y), "validation": (images.x_validation, images.y_validation), "test": test}
    kept, aside = split_off(y, validation, SPLIT_SEED + 1)
    return {"train": (x[kept], y[kept]), "validation": (x[aside], y[aside]), "test": test}


export = Vision
