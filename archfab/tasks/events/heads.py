"""From the state after an event to the intensities of all types until the next one, and their integral.

Each head takes states [B, L, D] and times after the event [B, L, Q], and gives intensities [B, L, Q, K] and the
compensator [B, L, Q]: the sum over types of the integrals from the event to those times. `exact` says whether that is a
closed form; else it is a quadrature, and in training an unbiased estimate (see `integral`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from archfab.nn.blocks import make
from archfab.space.descriptions import Describer, Description
from archfab.tasks.events.integral import integral

FLOOR = 1e-6        # least intensity of a type, per mean gap: a type that never came may still come
EARLY = 1e-3        # of a mean gap: times below it are told apart no further by the log-logistic head


def DecayHead(rates: Any) -> Description:
    """A state that decays from where an event puts it towards a target, as that of the neural Hawkes process does (Mei
    and Eisner, NeurIPS 2017, equations 7 and 4a); start, target and rates of decay are linear in the encoder state."""
    return Describer(DecayModule, "archfab.tasks.events.heads:DecayModule")(rates)


def ExponentialHead(rates: Any) -> Description:
    """Each type's intensity goes exponentially from one value to another: e + (s - e) exp(-d u), all three of the state
    after the event; it rises (inhibition ends) or falls (excitation). Its integral is exact."""
    return Describer(ExponentialModule, "archfab.tasks.events.heads:ExponentialModule")(rates)


def LogLogisticHead(rates: Any, components: Any = 8) -> Description:
    """The time to the next event is a mixture of log-logistic distributions, each with its own chances of types; a
    relative of the log-normal mixture of Shchur, Bilos and Guennemann (ICLR 2020) whose hazard and survival are
    elementary, and in which the type depends on the time. Its integral is exact."""
    return Describer(LogLogisticModule, "archfab.tasks.events.heads:LogLogisticModule")(rates, components)


def LinearHead(rates: Any) -> Description:
    """softplus(a_k u / (1 + u) + w_k h + b_k): the head of the transformer Hawkes process (Zuo et al., ICML 2020,
    equation 6), whose a_k (t - t_j) / t_j has no meaning where the clock's zero is arbitrary; here it levels off."""
    return Describer(LinearModule, "archfab.tasks.events.heads:LinearModule")(rates)


class Head(nn.Module, ABC):
    """What all heads have: `state`, `intensity`, and the integral by quadrature."""

    exact = False
    alone = False       # while it is asked for intensities only; the compensator is zeros then
    rows: torch.Tensor | None = None    # of each sequence the one row that is asked, [B]; else all rows are

    @abstractmethod
    def state(self, h: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All that the intensities after each event hang on, beside time."""

    @abstractmethod
    def intensity(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        """[B, L, Q, K] at times [B, L, Q] after the events."""

    def compensator(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        """The integral of the sum of intensities: [B, L, Q]."""
        return integral(lambda u: self.intensity(state, u), waits, self.training)

    def forward(self, h: Any, waits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = self.state(h)
        if self.rows is not None:
            each = torch.arange(len(self.rows))
            state = tuple(part[each, self.rows][:, None] if part.dim() > 2 else part for part in state)
        return self.intensity(state, waits), torch.zeros_like(waits) if self.alone else self.compensator(state, waits)


@contextmanager
def intensities_alone(model: nn.Module, rows: torch.Tensor | None = None) -> Iterator[None]:
    """No head computes its integral inside: it would be most of the work where many times are asked of.

    :param rows: [B], the one row of each sequence that is asked: waits and answers are [B, 1, Q, ...] then.
    """
    heads = [part for part in model.modules() if isinstance(part, Head)]
    for head in heads:
        head.alone, head.rows = True, rows
    try:
        yield
    finally:
        for head in heads:
            head.alone, head.rows = False, None


class Softplus(nn.Module):
    """s softplus(x / s), with a scale s > 0 for each type (Mei and Eisner, equation 4b), and x shifted so that x = 0
    gives the mean rates of the training data."""

    def __init__(self, rates: tuple[float, ...]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(len(rates)))
        shift = torch.tensor(list(rates)).clamp_min(1e-4).expm1().log()
        self.register_buffer("shift", shift, persistent=False)
        self.shift: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.log_scale.exp()
        return FLOOR + scale * F.softplus(x / scale + self.shift)


def softplus(builder: Any, x: Any, where: str, rates: Any) -> tuple[nn.Module, Any]:
    """The layer that makes intensities positive."""
    return builder.part(Describer(Softplus, "archfab.tasks.events.heads:Softplus")(rates), x, where)


def outputs(h: Any, types: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The shapes of what a head gives for one time after each event."""
    return (torch.empty(*h.shape[:2], 1, types, device="meta"), torch.empty(*h.shape[:2], 1, device="meta"))


class DecayModule(Head):
    """softplus(W tanh(e + (s - e) exp(-d u))), with s, e and d = softplus(.) linear in the state."""

    def __init__(self, start: nn.Module, target: nn.Module, rate: nn.Module, out: nn.Module,
                 positive: nn.Module) -> None:
        super().__init__()
        self.start = start
        self.target = target
        self.rate = rate
        self.out = out
        self.positive = positive

    def state(self, h: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.start(h)[:, :, None], self.target(h)[:, :, None], F.softplus(self.rate(h))[:, :, None]

    def intensity(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        start, target, rate = state
        return self.positive(self.out(torch.tanh(target + (start - target) * torch.exp(-rate * waits[..., None]))))

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, rates: Any) -> tuple[nn.Module, Any]:
        size = x.shape[-1]
        start, _ = builder.part(make("Linear", size), x, f"{where}.start")
        target, _ = builder.part(make("Linear", size), x, f"{where}.target")
        rate, _ = builder.part(make("Linear", size), x, f"{where}.rate")
        out, y = builder.part(make("Linear", len(rates)), x, f"{where}.out")
        positive, _ = softplus(builder, y, f"{where}.positive", rates)
        return DecayModule(start, target, rate, out, positive), outputs(x, len(rates))


class ExponentialModule(Head):
    """e + (s - e) exp(-d u) for each type, with s, e, d > 0."""

    exact = True

    def __init__(self, start: nn.Module, target: nn.Module, rate: nn.Module, positive: nn.Module) -> None:
        super().__init__()
        self.start = start
        self.target = target
        self.rate = rate
        self.positive = positive

    def state(self, h: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rate = 1e-3 + F.softplus(self.rate(h))
        return self.positive(self.start(h))[:, :, None], self.positive(self.target(h))[:, :, None], rate[:, :, None]

    def intensity(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        start, target, rate = state
        return target + (start - target) * torch.exp(-rate * waits[..., None])

    def compensator(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        start, target, rate = state
        u = waits[..., None]
        return (target * u - (start - target) / rate * torch.expm1(-rate * u)).sum(-1)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, rates: Any) -> tuple[nn.Module, Any]:
        start, y = builder.part(make("Linear", len(rates)), x, f"{where}.start")
        target, _ = builder.part(make("Linear", len(rates)), x, f"{where}.target")
        rate, _ = builder.part(make("Linear", len(rates)), x, f"{where}.rate")
        positive, _ = softplus(builder, y, f"{where}.positive", rates)
        return ExponentialModule(start, target, rate, positive), outputs(x, len(rates))


class LogLogisticModule(Head):
    """sum_m w_m f_m(v) p_mk / sum_m w_m S_m(v), with v = u + EARLY and S_m(v) = 1 / (1 + (v / a_m)^b_m), plus FLOOR.

    The weights w, scales a, shapes b (0.3 to 10) and the chances p of types are functions of the state. The mixture is
    cut off below EARLY, so that the survival of 0 is 1 and equal times have a finite density.
    """

    exact = True

    def __init__(self, components: int, weight: nn.Module, scale: nn.Module, shape: nn.Module, chance: nn.Module,
                 rates: tuple[float, ...]) -> None:
        super().__init__()
        self.components = components
        self.weight = weight
        self.scale = scale
        self.shape = shape
        self.chance = chance
        spread = torch.linspace(-3, 1.5, components) if components > 1 else torch.zeros(1)
        self.register_buffer("spread", spread, persistent=False)
        self.register_buffer("prior", torch.tensor(list(rates)).clamp_min(1e-4).log(), persistent=False)
        self.spread: torch.Tensor
        self.prior: torch.Tensor

    def state(self, h: torch.Tensor) -> tuple[torch.Tensor, ...]:
        weight = self.weight(h).log_softmax(-1)[:, :, None]
        scale = (self.scale(h) + self.spread)[:, :, None]
        shape = (0.3 + 9.7 * torch.sigmoid(self.shape(h) - 1.5))[:, :, None]
        chance = (self.chance(h).unflatten(-1, (self.components, -1)) + self.prior).softmax(-1)
        return weight, scale, shape, chance

    def intensity(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        weight, scale, shape, chance = state
        v = (waits[..., None] + EARLY).log()
        z = shape * (v - scale)
        alive = weight + F.logsigmoid(-z)                           # [B, L, Q, M]
        dying = alive + F.logsigmoid(z) + shape.log() - v
        hazard = torch.exp(dying - alive.logsumexp(-1, keepdim=True))
        return FLOOR + torch.einsum("blqm,blmk->blqk", hazard, chance)

    def compensator(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        weight, scale, shape, chance = state

        def survival(u: torch.Tensor) -> torch.Tensor:
            z = shape * ((u[..., None] + EARLY).log() - scale)
            return (weight + F.logsigmoid(-z)).logsumexp(-1)

        return survival(torch.zeros_like(waits)) - survival(waits) + FLOOR * chance.shape[-1] * waits

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, rates: Any, components: Any) -> tuple[nn.Module, Any]:
        n = builder.decided(components, x)
        weight, _ = builder.part(make("Linear", n), x, f"{where}.weight")
        scale, _ = builder.part(make("Linear", n), x, f"{where}.scale")
        shape, _ = builder.part(make("Linear", n), x, f"{where}.shape")
        chance, _ = builder.part(make("Linear", n * len(rates)), x, f"{where}.chance")
        return LogLogisticModule(n, weight, scale, shape, chance, tuple(rates)), outputs(x, len(rates))


class LinearModule(Head):
    """softplus(W h + a u / (1 + u)), with a for each type."""

    def __init__(self, level: nn.Module, slope: nn.Module, positive: nn.Module) -> None:
        super().__init__()
        self.level = level
        self.slope = slope
        self.positive = positive

    def state(self, h: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.level(h)[:, :, None],)

    def intensity(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        return self.positive(state[0] + self.slope((waits / (1 + waits))[..., None]))

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, rates: Any) -> tuple[nn.Module, Any]:
        level, y = builder.part(make("Linear", len(rates)), x, f"{where}.level")
        time = torch.empty(*x.shape[:2], 1, device="meta")
        slope, _ = builder.part(make("Linear", len(rates), bias=False), time, f"{where}.slope")
        positive, _ = softplus(builder, y, f"{where}.positive", rates)
        return LinearModule(level, slope, positive), outputs(x, len(rates))
