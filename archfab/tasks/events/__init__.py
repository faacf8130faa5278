"""Streams of typed events in continuous time: CSV, JSON lines, Parquet; a simulated process by default."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Row
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from archfab.core import Budget, Exhibit, Metrics, Port, Task, UsageError, unknown

if TYPE_CHECKING:
    import torch

    from archfab.tasks.events.batches import Padded
    from archfab.tasks.events.data import Events
    from archfab.tasks.events.hawkes.process import Process


class EventStreams(Task):
    """Temporal point processes: when the next event comes and of which type it is, from all that came before.

    `nll` is the negative log-likelihood per event in nats, over all types and to the end of each window, with time in
    the unit of the data. Test sequences are never seen by a search.

    :param data: a folder with train, test and dev files, or one file: CSV or Parquet with the columns sequence, time
        and type, or JSON lines {"t": [times], "k": [types]}; a simulated process without it.
    :param start: when sequences began to be watched, where the data does not say; their first event without it.
    :param end: when that ended, where the data does not say; their last event without it.
    :param types: names of all types, with commas between; those of the training data without it.
    :param duplicates: whether two equal rows of a table are an error (refuse) or two events (keep).
    :param context: most events that a network sees at once; longer sequences are cut.
    :param optimizer: adamw or sgd.
    :param lr: the highest learning rate.
    :param batch: sequences of one training step.
    :param weight_decay: of the weights; norms and biases have none.
    :param patience: epochs without a better validation score that end a training; 0: never.
    """

    name = "events"
    goals = {"nll": "min"}
    scores = ("nll", "time_rmse", "type_error")
    spaces = ("default",)
    ports = ((Port("types"), Port("gaps"), Port("waits", {0: "batch", 2: "times"})),
             (Port("intensities"), Port("compensators")))

    def __init__(self, *, data: str | None = None, start: float | None = None, end: float | None = None,
                 types: str = "", duplicates: str = "refuse", context: int = 128, optimizer: str = "adamw",
                 lr: float = 1e-2, batch: int = 32, weight_decay: float = 1e-3, patience: int = 0) -> None:
        from archfab.learning import Recipe, accelerator
        from archfab.tasks.events import example, reading
        if context < 2:
            raise UsageError(f"context is a number of events from 2 up, not {context}")
        if data is None and (start, end, types, duplicates) != (None, None, "", "refuse"):
            raise UsageError("--start, --end, --types and --duplicates say how data are read; name some with --data")
        self.recipe = Recipe(optimizer=optimizer, lr=lr, batch=batch, weight_decay=weight_decay, patience=patience)
        self.simulated = data is None
        whole = reading.read_events(data, start, end, types, duplicates) if data else example.events()
        self.events = in_pieces(whole, context)
        if not (self.events.gap > 0 and math.isfinite(1 / self.events.gap)):
            raise UsageError(f"the mean gap of the training events is {self.events.gap:g}; say the window with --start "
                             "and --end, or give the times in another unit")
        for part in ("train", "validation", "test"):
            if not any(each.scored for each in self.events.part(part)):
                raise UsageError(f"the {part} part has no event to be scored: each sequence is empty or has one event, "
                                 "which opens its window; say when watching began with --start, or give longer ones")
        everything = [*self.events.train, *self.events.validation, *self.events.test]
        self.rows = 1 + max(map(len, everything))
        self.asked = {"start": start, "end": end, "duplicates": duplicates}
        self.device = accelerator()
        self.steps_an_epoch = math.ceil(len(self.events.train) / batch)

    @cached_property
    def padded(self) -> dict[str, Padded]:
        """The three parts as tensors."""
        from archfab.tasks.events.batches import padded
        return {name: padded(self.events.part(name), self.kinds, self.events.gap, self.rows)
                for name in ("train", "validation", "test")}

    @property
    def kinds(self) -> int:
        return len(self.events.types)

    @cached_property
    def rates(self) -> list[float]:
        """How often each type comes in a mean gap of the training events; half an event in all where none came."""
        import numpy as np
        counts = sum(np.bincount(each.types[each.given:], minlength=self.kinds) for each in self.events.train)
        counts = np.maximum(counts, 0.5)
        return (counts / counts.sum()).round(5).clip(1e-5).tolist()

    @cached_property
    def longest(self) -> float:
        """The longest wait of the training events, in mean gaps."""
        return round(float(self.padded["train"].waits.max()), 4)

    def space(self, name: str | None = None) -> Any:
        from archfab.tasks.events import spaces
        name = name or self.spaces[0]
        if name not in self.spaces:
            raise unknown("space", name, self.spaces)
        return spaces.default(self.kinds, self.rates)

    def example(self, batch: int = 1) -> tuple[torch.Tensor, ...]:
        """One query after each row; two with several sequences, so that an export sees that their number may vary."""
        import torch
        queries = 1 if batch == 1 else 2
        return (torch.zeros(batch, self.rows, dtype=torch.int64), torch.zeros(batch, self.rows),
                torch.zeros(batch, self.rows, queries))

    def budget(self) -> Budget:
        """About a million events seen, in whole epochs from 2 to 12; more where these are fewer than 75 steps."""
        seen = sum(each.scored for each in self.events.train)
        epochs = max(2, min(12, round(1_000_000 / max(1, seen))))
        return Budget(epochs=max(epochs, math.ceil(75 / self.steps_an_epoch)))

    def full_budget(self) -> Budget:
        return Budget(epochs=4 * (self.budget().epochs or 1))

    def fit(self, model: Any, budget: Budget, rng: random.Random, full: bool = False,
            rate: float = 1.0) -> list[dict[str, float]]:
        """The weights of the epoch with the best validation likelihood are kept, for delivery as well."""
        import torch

        from archfab.learning import fit
        self.place(model)
        draws = torch.Generator().manual_seed(rng.getrandbits(60))
        return fit(model, lambda: self.epoch(self.padded["train"], draws), self.steps_an_epoch,
                   lambda batch: self.loss(self.answer(model, batch), batch),
                   replace(self.recipe, lr=self.recipe.lr * rate), budget,
                   lambda: {"nll": self.likelihood(model, "validation")["nll"]}, watched="nll")

    def batches(self, split: Literal["train", "validation"], rng: random.Random,
                part: tuple[float, float] = (0.0, 1.0)) -> Iterator[Any]:
        import numpy as np
        import torch
        data = self.padded[split]
        if part != (0.0, 1.0):
            order = np.random.default_rng(2).permutation(len(data))
            data = data[torch.from_numpy(np.sort(order[round(part[0] * len(data)):round(part[1] * len(data))]))]
        return self.epoch(data, torch.Generator().manual_seed(rng.getrandbits(60)))

    def epoch(self, data: Padded, draws: torch.Generator) -> Iterator[Any]:
        """All sequences once, in batches of nearly equal size, each as long as its longest sequence."""
        import torch
        for chosen in torch.randperm(len(data), generator=draws).tensor_split(math.ceil(len(data) / self.recipe.batch)):
            yield data[chosen].trimmed().to(self.device).batch

    def loss(self, answer: Any, batch: Any) -> torch.Tensor:
        """The negative log-likelihood per event, with time in mean gaps; its compensator is exact where the network has
        a closed form, else an unbiased estimate from random points."""
        from archfab.tasks.events.evaluation import log_likelihood_of
        following, scored = batch[1]
        return -log_likelihood_of(answer[0], answer[1], following, scored).sum() / scored.sum().clamp_min(1)

    def distance(self, answer: Any, other: Any) -> torch.Tensor:
        """Squared difference of the logarithms of intensities, and of compensators."""
        return ((answer[0].log() - other[0].log()) ** 2).mean() + ((answer[1] - other[1]) ** 2).mean()

    def place(self, model: Any) -> Any:
        return model.to(self.device)

    def likelihood(self, model: Any, split: str) -> dict[str, Any]:
        """The negative log-likelihood per event alone; compensators without a closed form are quadratures."""
        from archfab.tasks.events.evaluation import log_likelihoods, scores
        data = self.padded[split].to(self.device)
        return dict(scores(log_likelihoods(self.place(model).eval(), data), data, self.events.gap))

    def score(self, model: Any, split: Literal["validation", "test"] = "validation") -> Metrics:
        from archfab.tasks.events.evaluation import log_likelihoods, predict, scores
        data = self.padded[split].to(self.device)
        self.place(model).eval()
        return scores(log_likelihoods(model, data), data, self.events.gap, predict(model, data, self.longest))

    def inputs(self, number: int) -> tuple[torch.Tensor, ...]:
        """Real histories, asked in the middle and at the end of each wait."""
        import torch
        types, gaps, waits = self.padded["test"][:number].inputs
        return types, gaps, torch.cat([waits / 2, waits], 2)

    def exported(self, model: Any) -> Any:
        """A copy that asks for no gradients: a loop over rows is exported only so."""
        return copy.deepcopy(model).requires_grad_(False)

    def preprocessing(self) -> dict[str, Any]:
        """How histories become inputs and outputs become intensities; `archfab.tasks.events.batches` does it."""
        from archfab.tasks.events.integral import NODES
        return {"types": list(self.events.types), "unit": self.events.gap, "rows": self.rows, "opening": self.kinds,
                "longest": self.longest, **self.asked,
                "inputs": "row 0: type `opening`, gap 0; row i: type and gap of event i, divided by `unit`; rows "
                          "without an event come last. waits: times after each row, divided by `unit`",
                "outputs": "intensities of each type after each row, to be divided by `unit`; compensators: the "
                           "integral of their sum from the row on, exact where the head has a closed form, else a "
                           f"quadrature of {NODES} points"}

    def baseline(self) -> dict[str, Metrics]:
        """Poisson and Hawkes processes, and the two networks of the literature trained as delivered ones are."""
        from archfab.tasks.events.ladder import baselines
        return baselines(self)

    @cached_property
    def classical(self) -> dict[str, Process]:
        """The processes that need no network, fitted; see `ladder`."""
        from archfab.tasks.events.ladder import classical
        return classical(self)

    @cached_property
    def rungs(self) -> dict[str, Any]:
        """The log-likelihood of each test sequence by the methods below a searched network."""
        from archfab.tasks.events.ladder import rungs
        return rungs(self)

    @cached_property
    def networks(self) -> dict[str, Any]:
        """The networks of the literature, trained; see `ladder`."""
        from archfab.tasks.events.ladder import networks
        return networks(self)

    @cached_property
    def influences(self) -> list[Exhibit]:
        """What a Hawkes process says of who excites whom."""
        from archfab.tasks.events.exhibits import influences
        return list(influences(self))

    def exhibits(self, model: Any) -> Iterable[Exhibit]:
        from archfab.tasks.events.exhibits import exhibits
        return exhibits(self, model)

    @classmethod
    def predict(cls, models: Row[Any], preprocessing: Mapping[str, Any], data: str, *, start: float | None = None,
                end: float | None = None, duplicates: str | None = None, draws: int = 10) -> Iterable[Exhibit]:
        """The next event of each sequence of a file, and continuations drawn at random.

        :param start: where windows begin; as in the training data where it is left out.
        :param end: where they end.
        :param duplicates: refuse or keep equal rows; as in the training data where it is left out.
        :param draws: continuations of each sequence; 0 for none.
        """
        from archfab.tasks.events.forecasts import forecasts
        asked = {"start": start, "end": end, "duplicates": duplicates}
        said = {name: value for name, value in asked.items() if value is not None}
        return forecasts(models, {**preprocessing, **said}, data, draws)


def in_pieces(events: Events, most: int) -> Events:
    """Sequences cut to what a network sees at once."""
    train, validation, test = ([piece for each in part for piece in each.pieces(most)]
                               for part in (events.train, events.validation, events.test))
    return replace(events, train=train, validation=validation, test=test)


export = EventStreams
