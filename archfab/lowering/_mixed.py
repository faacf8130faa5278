"""Parts of a mixture: several options side by side, weighed by what the decision's gate says in this step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from archfab.core import Label
from archfab.nn.cells import ZeroModule


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


def weighed(gates: Gates, name: str, values: Mapping[int, Any]) -> Any:
    """The sum of what the options of a decision say, by their indices, each times its weight."""
    if gates.single(name):
        return next(iter(values.values()))
    weights = gates.weights[name]
    chosen = weights if len(values) == len(weights) else weights[list(values)]
    return pytree.tree_map(lambda *parts: Weigh.apply(chosen, *parts), *values.values())


class Mixed(nn.Module):
    """The options of one decision side by side.

    Where none of those that are computed is a connection, `silent` says whether nothing is returned, or zeros.
    """

    def __init__(self, gates: Gates, name: str, options: Sequence[nn.Module]) -> None:
        super().__init__()
        self.gates, self.name, self.silent = gates, name, False
        self.options = nn.ModuleList(options)
        self.writes = writes(self.options)

    def hush(self) -> None:
        """Lets it say nothing where it has nothing to say."""
        self.silent = True
        for option in self.options:
            if isinstance(option, Mixed):
                option.hush()

    @property
    def may_be_silent(self) -> bool:
        """Whether it has nothing to say for some decision."""
        return any(is_empty(option) or getattr(option, "may_be_silent", False) for option in self.options)

    def forward(self, *inputs: Any) -> Any:
        active = self.gates.active[self.name]
        apart = self.writes and len(active) > 1
        values = {i: self.options[i](*(copied(inputs) if apart else inputs)) for i in active
                  if not is_empty(self.options[i])}
        values = {i: value for i, value in values.items() if value is not None}
        if values:
            return weighed(self.gates, self.name, values)
        return None if self.silent else pytree.tree_map(torch.zeros_like, inputs[0])


class Exits(nn.Module):
    """Parts one after another, left after as many of them as each option says."""

    def __init__(self, gates: Gates, name: str, parts: Sequence[nn.Module], counts: Sequence[int]) -> None:
        super().__init__()
        self.gates, self.name, self.counts = gates, name, tuple(counts)
        self.parts = nn.ModuleList(parts)
        self.writes = writes(self.parts)

    def forward(self, x: Any) -> Any:
        active = self.gates.active[self.name]
        apart = self.writes and len(active) > 1
        values = [x]
        for part in self.parts[:max(self.counts[i] for i in active)]:
            values.append(part(copied(values[-1]) if apart else values[-1]))
        return weighed(self.gates, self.name, {i: values[self.counts[i]] for i in active})


def is_empty(module: nn.Module) -> bool:
    """Whether a part is no connection."""
    return isinstance(module, ZeroModule)


def writes(module: nn.Module) -> bool:
    """Whether some part changes its input in place, which others read too."""
    return any(getattr(part, "inplace", False) for part in module.modules())


def copied(values: Any) -> Any:
    return pytree.tree_map_only(torch.Tensor, torch.clone, values)
