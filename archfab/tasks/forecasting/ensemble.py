"""An ensemble as one network: members of several look-backs and losses, each trained on its own, and their median."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import nn

from archfab.core import BuildError, UsageError
from archfab.nn.attention import counted
from archfab.space.descriptions import Describer, Description
from archfab.tasks.forecasting import nbeats

HERE = "archfab.tasks.forecasting.ensemble"


def Ensemble(stacks: Any, lookbacks: Any, losses: Any, repeats: Any, horizon: int,
             quantiles: Sequence[float] = (), start: Any = 1) -> Description:
    """The median over forecasters of every look-back and every loss, each `repeats` times with weights of its own
    (Oreshkin et al., section 3.4): [B, longest look-back] -> [B, horizon].

    :param stacks: what all members are made of. :param lookbacks: and `losses`: tuples, or choices among tuples.
    """
    return Describer(EnsembleModule, f"{HERE}:EnsembleModule")(stacks, lookbacks, losses, repeats, horizon,
                                                              tuple(quantiles), start)


class EnsembleModule(nn.Module):
    """What an `Ensemble` becomes."""

    def __init__(self, members: Sequence[nn.Module], margin: nn.Module) -> None:
        super().__init__()
        self.members: Any = nn.ModuleList(members)
        self.margin = margin

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return middle(torch.stack([point(member(x), member.quantiles) for member in self.members]))

    def decomposition(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The parts [B, 1, H] of the member whose forecast is the median at a step, so that they add up to it; the mean
        of two where the number of members is even."""
        each = [member.decomposition(x) for member in self.members]
        places = [member.quantiles.index(0.5) if member.quantiles else 0 for member in self.members]
        forecasts = torch.stack([point(member(x), member.quantiles) for member in self.members])
        order = forecasts.argsort(0)
        half = len(each) // 2
        chosen = order[half:half + 1] if len(each) % 2 else order[half - 1:half + 1]
        parts = {name: torch.stack([found[name][:, place] for found, place in zip(each, places, strict=True)])
                 for name in each[0]}
        return {name: part.gather(0, chosen).mean(0).unsqueeze(1) for name, part in parts.items()}

    @property
    def quantiles(self) -> tuple[float, ...]:
        """It forecasts none, whatever its members do."""
        return ()

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, stacks: Any, lookbacks: Any, losses: Any, repeats: Any,
                 horizon: int, quantiles: Any, start: Any) -> tuple[nn.Module, Any]:
        if hasattr(builder, "open"):            # in a mixture
            raise UsageError("the members of an ensemble are trained each on its own, so that no gradient leads from "
                             "its loss to its decisions; search the space 'modules' by gradients, or this one by "
                             "trials")
        repeats = counted(builder.decided(repeats), "repeats", where)
        members = []
        for lookback, loss in product(builder.decided(lookbacks), builder.decided(losses)):
            if loss == "quantiles" and 0.5 not in quantiles:
                raise BuildError(f"{where}: a member that forecasts quantiles needs the level 0.5 among them")
            described = nbeats.Forecaster(stacks, lookback, horizon, loss, quantiles, start)
            members += [builder.part(described, x, f"{where}.{lookback}.{loss}.{i}")[0] for i in range(repeats)]
        margin, _ = builder.part(Describer(nbeats.MarginModule, f"{nbeats.HERE}:MarginModule")(horizon), x,
                                 f"{where}.margin")
        return EnsembleModule(members, margin), x.new_empty((x.shape[0], horizon))


def point(forecast: torch.Tensor, quantiles: Sequence[float]) -> torch.Tensor:
    """A forecast [B, H] as it is, or the median of its quantiles [B, Q, H]."""
    return forecast[:, tuple(quantiles).index(0.5)] if quantiles else forecast


def middle(values: torch.Tensor) -> torch.Tensor:
    """The median over the first axis; the mean of the two in the middle where their number is even."""
    number = len(values)
    if number == 1:
        return values[0]
    ordered = values.sort(0).values
    half = number // 2
    return ordered[half] if number % 2 else (ordered[half - 1] + ordered[half]) / 2
