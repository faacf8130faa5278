"""The continuous-time LSTM of the neural Hawkes process (Mei and Eisner, NeurIPS 2017), in layers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from archfab.core import BuildError
from archfab.nn.blocks import make
from archfab.space.descriptions import Describer, Description
from archfab.tasks.events.heads import Head, outputs, softplus

GATES = 7           # five sigmoids (input, forget, output, and the target's input and forget), the candidate, the decay


def ContinuousLSTM(hidden: Any, layers: Any, rates: Any) -> Description:
    """Rows [B, L, E] and gaps to intensities: a cell decays towards a target between events; each event sets anew cell,
    target and decay. Further layers read the state of the one below as it is right after each event."""
    return Describer(ContinuousModule, "archfab.tasks.events.continuous:ContinuousModule")(hidden, layers, rates)


class Gates(nn.Module):
    """Several linear maps of one input side by side: [..., E] -> [..., G * D]."""

    def __init__(self, in_features: int, gates: int, features: int, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(features)
        self.weight = nn.Parameter(torch.empty(gates, features, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(gates, features).uniform_(-bound, bound)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight.flatten(0, 1), self.bias if self.bias is None else self.bias.flatten())


class ContinuousLayer(nn.Module):
    """One layer: what an event brings and the state just before it give the gates (equations 5 and 6).

    It goes through the rows one by one. An exported network has that as one loop, of the number of rows that it was
    exported with; its weights must not ask for gradients then.
    """

    def __init__(self, inputs: nn.Module, recurrent: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.recurrent = recurrent

    def forward(self, x: torch.Tensor, gaps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cell, target, decay and output gate right after each row, [B, L, D] each."""
        before, waits = self.inputs(x), F.pad(gaps[:, 1:], (0, 1))[:, :, None]
        zero = torch.zeros_like(before[:, 0, :before.shape[2] // GATES])
        if torch.compiler.is_exporting():
            from torch._higher_order_ops.scan import scan

            def apart(now: tuple[torch.Tensor, ...], row: tuple[torch.Tensor, ...]) -> tuple[Any, Any]:
                after, (start, target, decay, out) = self.step(now, row)
                return after, (start, target.clone(), decay, out.clone())       # a loop's results share no memory

            _, found = scan(apart, (zero, zero.clone(), zero.clone()), (before.transpose(0, 1), waits.transpose(0, 1)))
            return tuple(each.transpose(0, 1) for each in found)
        now: tuple[torch.Tensor, ...] = (zero, zero, zero)
        states: list[tuple[torch.Tensor, ...]] = []
        for row in zip(before.unbind(1), waits.unbind(1), strict=True):
            now, state = self.step(now, row)
            states.append(state)
        return tuple(torch.stack(each, 1) for each in zip(*states, strict=True))

    def step(self, now: tuple[torch.Tensor, ...], row: tuple[torch.Tensor, ...]) -> tuple[Any, Any]:
        """From cell, target and hidden state just before an event to those before the next, and the state after it."""
        cell, target, hidden = now
        brought, wait = row
        size = hidden.shape[1]
        gates = brought + self.recurrent(hidden)
        enter, keep, out, enter_target, keep_target = torch.sigmoid(gates[:, :5 * size]).split(size, 1)
        candidate, decay = torch.tanh(gates[:, 5 * size:6 * size]), F.softplus(gates[:, 6 * size:])
        start = torch.addcmul(keep * cell, enter, candidate)
        target = torch.addcmul(keep_target * target, enter_target, candidate)
        cell = torch.addcmul(target, start - target, torch.exp(decay * -wait))
        return (cell, target, out * torch.tanh(cell)), (start, target, decay, out)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, hidden: Any) -> tuple[nn.Module, Any]:
        size = builder.decided(hidden, x)
        gates = Describer(Gates, "archfab.tasks.events.continuous:Gates")
        inputs, _ = builder.part(gates(GATES, size), x, f"{where}.inputs")
        recurrent, _ = builder.part(gates(GATES, size, bias=False), torch.empty(x.shape[0], size, device="meta"),
                                    f"{where}.recurrent")
        return ContinuousLayer(inputs, recurrent), torch.empty(*x.shape[:2], size, device="meta")


class ContinuousModule(Head):
    """Layers of a continuous-time LSTM; the intensities are s softplus(W h(t) / s) with h(t) = o tanh(c(t))."""

    def __init__(self, layers: list[nn.Module], out: nn.Module, positive: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.out = out
        self.positive = positive

    def state(self, h: Any) -> tuple[torch.Tensor, ...]:
        x, gaps = h
        for layer in self.layers:
            cell, target, decay, out = layer(x, gaps)
            x = out * torch.tanh(cell)
        return tuple(each[:, :, None] for each in (cell, target, decay, out))

    def intensity(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        cell, target, decay, out = state
        now = target + (cell - target) * torch.exp(-decay * waits[..., None])
        return self.positive(self.out(out * torch.tanh(now)))

    def forward(self, x: Any, gaps: torch.Tensor, waits: torch.Tensor) -> Any:     # type: ignore[override]
        return super().forward((x, gaps), waits)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, hidden: Any, layers: Any, rates: Any) -> tuple[nn.Module, Any]:
        y, parts = x[0], []
        for i in range(counted(builder.decided(layers), where)):
            layer = Describer(ContinuousLayer, "archfab.tasks.events.continuous:ContinuousLayer")(hidden)
            part, y = builder.part(layer, y, f"{where}.layer{i}")
            parts.append(part)
        out, z = builder.part(make("Linear", len(rates)), y, f"{where}.out")
        positive, _ = softplus(builder, z, f"{where}.positive", rates)
        return ContinuousModule(parts, out, positive), outputs(y, len(rates))


def counted(layers: Any, where: str) -> int:
    if not isinstance(layers, int) or layers < 1:
        raise BuildError(f"{where}: layers is a whole number from 1 up, not {layers!r}")
    return layers
