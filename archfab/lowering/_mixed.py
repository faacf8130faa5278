"""Parts of a mixture: several options side by side, weighed by what the decision's gate says in this step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archfab.core import Label


class Gates:
    """For each decision, by its name: the weight of each option in this step, and the options that are computed."""

    def __init__(self, labels: Mapping[str, Sequence[Label]]) -> None:
        self.labels = {name: list(each) for name, each in labels.items()}
        self.weights: dict[str, torch.Tensor] = {}
        self.active: dict[str, list[int]] = {}

    def set(self, name: str, weights: torch.Tensor, active: list[int]) -> None:
        self.weights[name], self.active[name] = weights, active

    def single(self, name: str) -> bool:
        """Whether one option alone is let through, unweighed and without a gradient."""
        active = self.active[name]
        return len(active) == 1 and not self.weights[name].requires_grad


class Weigh(torch.autograd.Function):
    """sum of w[i] y[i]; the gradients are w[i] g of y[i] and <g, y[i]> of w[i]."""

    @staticmethod
    def forward(ctx: Any, weights: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weights, *values)
        total = values[0] * weights[0]
        for i, value in enumerate(values[1:], 1):
            total.add_(value * weights[i])
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weights, *values = ctx.saved_tensors
        g = gradients[0]
        inner = torch.stack([torch.vdot(g.flatten(), value.flatten()) for value in values]) \
            if ctx.needs_input_grad[0] else None
        return inner, *(g * weights[i] if ctx.needs_input_grad[i + 1] else None for i in range(len(values)))


def weighed(weights: torch.Tensor, values: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of some tensors of one shape, each times its weight."""
    return Weigh.apply(weights, *values)


class Mixed(nn.Module):
    """The options of one decision side by side.

    :param silent: whether nothing is returned where no option says anything, instead of zeros.
    """

    def __init__(self, gates: Gates, name: str, options: Mapping[Label, nn.Module],
                 empty: Sequence[Label] = ()) -> None:
        super().__init__()
        self.gates, self.name, self.silent = gates, name, False
        self.options = nn.ModuleList(options.values())
        self.empty = frozenset(i for i, label in enumerate(options) if label in empty)

    def forward(self, x: Any) -> Any:
        active = [i for i in self.gates.active[self.name] if i not in self.empty]
        if not active:
            return None if self.silent else torch.zeros_like(x)
        if self.gates.single(self.name):
            return self.options[active[0]](x)
        weights = self.gates.weights[self.name]
        chosen = weights if len(active) == len(weights) else weights[active]
        return weighed(chosen, [self.options[i](x) for i in active])


class Exits(nn.Module):
    """Parts one after another, left after as many of them as each option says."""

    def __init__(self, gates: Gates, name: str, parts: Sequence[nn.Module], counts: Sequence[int]) -> None:
        super().__init__()
        self.gates, self.name, self.counts = gates, name, tuple(counts)
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Any) -> Any:
        active = self.gates.active[self.name]
        values = {0: x}
        for i, part in enumerate(self.parts[:max(self.counts[i] for i in active)]):
            values[i + 1] = x = part(x)
        if self.gates.single(self.name):
            return x
        weights = self.gates.weights[self.name]
        chosen = weights if len(active) == len(weights) else weights[active]
        return weighed(chosen, [values[self.counts[i]] for i in active])
