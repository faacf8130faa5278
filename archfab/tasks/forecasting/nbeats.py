"""N-BEATS (Oreshkin et al., ICLR 2020): stacks of blocks, each of which explains a part of the past and of the future.

What goes through a network is a state of four tensors: what is left of the past [B, L] (the latest value first), which
of its values are known [B, L], the window's scale [B, 1, 1] (0 where it has zeros alone), and the forecast so far
[B, Q, H] in the data's own unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from archfab.core import BuildError, UsageError
from archfab.nn.attention import counted
from archfab.nn.blocks import make
from archfab.space import repeat
from archfab.space.choices import Repeat, outcomes
from archfab.space.descriptions import Describer, Description

HERE = "archfab.tasks.forecasting.nbeats"
SEASONS = 3         # in which a forecast's start is looked for
LEARNED = -1        # a margin's `windows` where the network has learned from them, so that they say nothing of it
KINDS = ("generic", "trend", "seasonality")
State = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def Forecaster(stacks: Any, lookback: Any, horizon: int, loss: Any = "smape", quantiles: Sequence[float] = (),
               start: Any = 1) -> Description:
    """A network from windows [B, longest look-back] to forecasts [B, horizon], or [B, Q, horizon] of Q quantiles.

    A window holds raw values, the oldest first, and NaN where one is missing. The last `lookback` values are divided by
    the largest of their magnitudes; a missing one is 0 there, and so is what a block says of it. The forecast starts
    at the last known value, to which every stack adds its part. Of zeros alone, which have no scale, it is 0.

    :param stacks: descriptions by `Stack`, one after another.
    :param loss: what the network is trained on: smape, mase, mape, or quantiles, which makes it forecast `quantiles`.
    :param start: where a forecast starts: 1 at the last known value, as in the authors' code; n at the value n steps
        before, the seasonal naive forecast for a season of n. Where that is missing, at the one n before it, or the
        last known value.
    """
    describe = Describer(ForecasterModule, f"{HERE}:ForecasterModule")
    return describe(stacks, lookback, horizon, loss, tuple(quantiles), start)


def Stack(kind: str, blocks: Any, layers: Any, width: Any, size: Any, shared: Any = True, period: int = 0,
          longest: int = 0) -> Description:
    """Blocks of one kind, each of which sees what those before it left of the past.

    :param kind: generic (learned bases), trend (polynomials) or seasonality (harmonics).
    :param size: of the basis: the learned vectors, the degree of the polynomial, or the number of harmonics.
    :param shared: whether all blocks of the stack have one set of weights.
    :param period: steps of the first harmonic. :param longest: the look-back that polynomials are scaled by.
    """
    if kind not in KINDS:
        raise UsageError(f"no kind of stack named '{kind}'; known: {', '.join(KINDS)}")
    block = Describer(BlockModule, f"{HERE}:BlockModule")(kind, layers, width, size, period, longest)
    return Describer(StackModule, f"{HERE}:StackModule")(kind, block, blocks, shared)


class ForecasterModule(nn.Module):
    """What a `Forecaster` becomes."""

    def __init__(self, stacks: nn.Module, margin: MarginModule, lookback: int, levels: int, loss: str,
                 quantiles: Sequence[float], season: int) -> None:
        super().__init__()
        self.stacks = stacks
        self.margin = margin
        self.lookback = lookback
        self.levels = levels
        self.loss = loss
        self.quantiles = tuple(quantiles)
        self.season = season

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        forecast = self.stacks(self.start(x))[3]
        return forecast if self.quantiles else forecast.squeeze(1)

    def start(self, x: torch.Tensor) -> State:
        """The state before the first stack: nothing explained, the forecast where it starts."""
        recent = x[:, -self.lookback:].flip(1)
        missing = recent.isnan()
        known = (~missing).to(x.dtype)
        recent = recent.masked_fill(missing, 0.0)
        largest = recent.abs().amax(1, keepdim=True)
        scaled = recent / torch.where(largest > 0, largest, torch.ones_like(largest))
        begin = self.begin(recent, known, missing)
        return scaled, known, largest.unsqueeze(2), begin.unsqueeze(1).expand(-1, self.levels, -1)

    def begin(self, recent: torch.Tensor, known: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        """Where the forecast starts [B, H], from the past with its latest value first."""
        latest = known * (known.cumsum(1) == 1).to(recent.dtype)
        level = (recent * latest).sum(1, keepdim=True)
        if self.season == 1:
            return level.expand(-1, self.margin.horizon)
        cycle = level.expand(-1, self.season)
        for back in reversed(range(min(SEASONS, self.lookback // self.season))):
            at = slice(back * self.season, (back + 1) * self.season)
            cycle = torch.where(missing[:, at], cycle, recent[:, at])
        times = -(-self.margin.horizon // self.season)
        return cycle.flip(1).repeat(1, times)[:, :self.margin.horizon]

    def decomposition(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The forecast's parts [B, Q, H] by name, which add up to it in this order to the last bit."""
        state = self.start(x)
        parts = {"level" if self.season == 1 else "last season": state[3]}
        stacks: list[Any] = list(self.stacks.children())
        kinds = [stack.kind for stack in stacks]
        for i, stack in enumerate(stacks):
            residual, part = stack.part(state)
            state = (residual, state[1], state[2], state[3] + part)
            name = stack.kind if kinds.count(stack.kind) == 1 else f"{stack.kind} {kinds[:i + 1].count(stack.kind)}"
            parts[name] = part
        return parts

    @property
    def members(self) -> list[ForecasterModule]:
        """The networks in it that are trained on their own: itself."""
        return [self]

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, stacks: Any, lookback: Any, horizon: int, loss: Any,
                 quantiles: Any, start: Any) -> tuple[nn.Module, Any]:
        if not isinstance(x, torch.Tensor) or x.dim() != 2:
            raise BuildError(f"{where} takes windows [B, look-back]")
        lookback = counted(builder.decided(lookback), "lookback", where)
        if lookback > x.shape[1]:
            raise BuildError(f"{where}: a look-back of {lookback} in windows of {x.shape[1]} values")
        if hasattr(builder, "open") and (choice := builder.open(loss)) is not None:      # in a mixture
            raise UsageError(f"choice '{choice.name}' decides what is learned, not what is computed: losses of "
                             "different kinds cannot be weighed against each other by their gradients; fix it, as the "
                             "space 'modules' does")
        loss = builder.decided(loss)
        quantiles = tuple(quantiles) if loss == "quantiles" else ()
        levels = max(1, len(quantiles))
        past = x.new_empty((x.shape[0], lookback))
        state = (past, past, x.new_empty((x.shape[0], 1, 1)), x.new_empty((x.shape[0], levels, horizon)))
        inner, _ = builder.part(stacks, state, f"{where}.stacks")
        margin, _ = builder.part(Describer(MarginModule, f"{HERE}:MarginModule")(horizon), x, f"{where}.margin")
        y = state[3] if quantiles else state[3][:, 0]
        season = counted(builder.decided(start), "start", where)
        if season > lookback:
            raise BuildError(f"{where}: a look-back of {lookback} does not reach back a season of {season}")
        return ForecasterModule(inner, margin, lookback, levels, loss, quantiles, season), y


class MarginModule(nn.Module):
    """How far the truth was from the forecast on windows set aside, step by step; says nothing in a forward pass.

    `radius` [H] is in units of a window's spread; `windows` is the number of windows that it was taken from, 0 before,
    and `LEARNED` where there is none to take it from.
    """

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.radius: torch.Tensor
        self.windows: torch.Tensor
        self.register_buffer("radius", torch.zeros(horizon))
        self.register_buffer("windows", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class StackModule(nn.Module):
    """What a `Stack` becomes: its blocks in a row, or one of them `times` over."""

    def __init__(self, kind: str, blocks: nn.Module, times: int) -> None:
        super().__init__()
        self.kind = kind
        self.blocks = blocks
        self.times = times

    def forward(self, state: State) -> State:
        residual, part = self.part(state)
        return residual, state[1], state[2], state[3] + part

    def part(self, state: State) -> tuple[torch.Tensor, torch.Tensor]:
        """What is left of the past, and what this stack adds to the forecast, in the data's unit."""
        residual, known, scale, forecast = state
        inner = (residual, known, scale, torch.zeros_like(forecast))
        for _ in range(self.times):
            inner = self.blocks(inner)
        return inner[0], inner[3] * scale

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, kind: str, block: Any, blocks: Any,
                 shared: Any) -> tuple[nn.Module, Any]:
        if builder.decided(shared):
            inner, state = builder.part(block, x, f"{where}.blocks[0]")
            return StackModule(kind, inner, counted(builder.decided(blocks), "blocks", where)), state
        most = max(value for _, value in outcomes(blocks))
        inner, state = builder.part(Repeat(blocks, (block,) * most), x, f"{where}.blocks")
        return StackModule(kind, inner, 1), state


class BlockModule(nn.Module):
    """Layers that look at what is left of the past, and two heads of coefficients for a basis of past and future."""

    def __init__(self, body: nn.Module, back: nn.Module, ahead: nn.Module, past: nn.Module, future: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.back = back
        self.ahead = ahead
        self.past = past
        self.future = future

    def forward(self, state: State) -> State:
        residual, known, scale, forecast = state
        hidden = self.body(residual)
        levels = forecast.shape[1]
        coefficients = self.ahead(hidden)
        if levels == 1:
            part = self.future(coefficients).unsqueeze(1)
        else:
            part = self.future(coefficients.unflatten(1, (-1, levels)).transpose(1, 2))
        return (residual - self.past(self.back(hidden))) * known, known, scale, forecast + part

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, kind: str, layers: Any, width: Any, size: Any, period: int,
                 longest: int) -> tuple[nn.Module, Any]:
        residual, forecast = x[0], x[3]
        size, levels = builder.decided(size), forecast.shape[1]
        rows = {"generic": size, "trend": size + 1, "seasonality": 2 * size - 1}[kind]
        rows = counted(rows, "the size of the basis", where)
        layer = [make("Linear", width), make("ReLU")]
        body, hidden = builder.part(repeat(layers, lambda i: layer), residual, f"{where}.body")
        head = Describer(HeadModule, f"{HERE}:HeadModule")
        back, coefficients = builder.part(head(rows), hidden, f"{where}.back")
        ahead, _ = builder.part(head(rows * levels), hidden, f"{where}.{'ahead' if levels == 1 else 'levels'}")
        bases = [make("Linear", n) if kind == "generic" else
                 Describer(BasisModule, f"{HERE}:BasisModule")(kind, rows, n, step, period, longest)
                 for n, step in ((residual.shape[1], -1), (forecast.shape[2], 1))]
        past, _ = builder.part(bases[0], coefficients, f"{where}.past")
        future, _ = builder.part(bases[1], coefficients, f"{where}.future")
        return BlockModule(body, back, ahead, past, future), x


class HeadModule(nn.Linear):
    """A linear layer that begins at zero, so that every block begins as one that explains nothing."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class BasisModule(nn.Module):
    """Fixed functions of time, weighed: [.., rows] -> [.., steps].

    Row i of a trend is t^i, with t from 0 to 1 over the future, and over the longest look-back into the past. Rows of
    a seasonality are 1, cos(w t), sin(w t), cos(2 w t), ... with w = 2 pi / period, on one line through past and
    future. Fewer rows or steps are the first of more, so that networks can share them.

    :param step: 1 into the future, from t = 0; -1 into the past, from the step before that.
    """

    def __init__(self, kind: str, rows: int, steps: int, step: int, period: int, longest: int) -> None:
        super().__init__()
        at = torch.arange(steps, dtype=torch.float64)
        if kind == "trend":
            t = at / steps if step > 0 else (at + 1) / max(longest, steps)
            values = t ** torch.arange(rows)[:, None]
        else:
            t = at if step > 0 else -(at + 1)
            angle = 2 * torch.pi / period * t * ((torch.arange(rows) + 1) // 2)[:, None]
            values = torch.where(torch.arange(rows)[:, None] % 2 == 1, angle.cos(), angle.sin())
            values[0] = 1.0
        self.values: torch.Tensor
        self.register_buffer("values", values.float())

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        return coefficients @ self.values
