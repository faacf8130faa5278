"""Point processes as networks: (types, gaps, waits) -> intensities of all types after each row, and their integral.

Types and gaps are rows as in `batches`; waits [B, L, Q] are times after each row at which the network is asked. It
answers with intensities [B, L, Q, K], in events a unit of time (the unit of gaps and waits), and the compensator
[B, L, Q]. Row i knows rows 0 to i, no later one: an intensity is a function of what happened before.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from archfab.nn.blocks import make
from archfab.space.descriptions import Describer, Description
from archfab.tasks.events.heads import FLOOR, Head

SPEED = 5.0         # how much faster the few numbers of a Hawkes process learn than the weights of a network
SOFTNESS = 0.3      # of a mean rate: over which part of an intensity the corner of softplus is rounded, at first


def Marked(types: int, embedding: Any, time: Any, hidden: Any, process: Any) -> Description:
    """A process that reads rows as vectors: an embedding of the type and features of time, each brought to `hidden`.

    :param embedding: its size. :param time: what rows know of time, a part on gaps [B, L]: `Clock`, `NoTime`.
    :param process: from ((rows, gaps), waits) to intensities: `ContinuousLSTM`, `Recurrent`, `Attending`.
    """
    module = Describer(MarkedModule, "archfab.tasks.events.processes:MarkedModule")
    return module(types, embedding, time, hidden, process)


def Clock(waves: Any = 0) -> Description:
    """Gaps as numbers: the gap, its logarithm, and sines and cosines of the time since the start of the window at
    `waves` periods, from 2 mean gaps up, each twice the one before: positions, as in a transformer. They are a clock
    (the hours of a day) only where all windows start at one phase of it."""
    return Describer(ClockModule, "archfab.tasks.events.processes:ClockModule")(waves)


def NoTime() -> Description:
    """Rows that say nothing of time: the process itself has to know it (a continuous-time LSTM does)."""
    return Describer(NoTimeModule, "archfab.tasks.events.processes:NoTimeModule")()


def Recurrent(hidden: Any, layers: Any, head: Any) -> Description:
    """A GRU (Cho et al., EMNLP 2014) over the rows, with a head of `heads`, as in Du et al. (KDD 2016)."""
    return Describer(RecurrentModule, "archfab.tasks.events.processes:RecurrentModule")(hidden, layers, head)


def Attending(blocks: Any, head: Any) -> Description:
    """Causal attention over the rows, with a head of `heads`: the transformer Hawkes process (Zuo et al., ICML 2020),
    with the integral over all types and no sight of what comes later. `blocks` are `CausalBlock`s."""
    return Describer(AttendingModule, "archfab.tasks.events.processes:AttendingModule")(blocks, head)


def Hawkes(types: int, rates: Any, exponentials: Any = 1) -> Description:
    """The classical process (Hawkes, Biometrika 1971) as a network, trained by gradients like the others: base rates,
    and excitation as a sum of `exponentials` exponentials, whose decays are learned. Its integral is exact."""
    return Describer(HawkesModule, "archfab.tasks.events.processes:HawkesModule")(types, rates, exponentials)


def InhibitingHawkes(types: int, rates: Any, exponentials: Any = 1) -> Description:
    """The classical process with weights of any sign, kept above 0 by a softplus (Bremaud and Massoulie, Annals of
    Probability 1996) whose softness is learned for each type. Its integral is a quadrature."""
    module = Describer(InhibitingModule, "archfab.tasks.events.processes:InhibitingModule")
    return module(types, rates, exponentials)


class ClockModule(nn.Module):
    """[B, L] -> [B, L, 2 + 2 * waves]."""

    def __init__(self, waves: int) -> None:
        super().__init__()
        self.waves = waves

    def forward(self, gaps: torch.Tensor) -> torch.Tensor:
        found = [(gaps + 1e-3).log(), gaps.clamp_max(100)]
        if self.waves:
            times = gaps.cumsum(1)
            for i in range(self.waves):
                angle = times * (torch.pi / 2**i)
                found += [angle.sin(), angle.cos()]
        return torch.stack(found, 2)


class NoTimeModule(nn.Module):
    """[B, L] -> zeros of [B, L, 1]."""

    def forward(self, gaps: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(gaps)[:, :, None]


class MarkedModule(nn.Module):
    """What a `Marked` becomes."""

    def __init__(self, marks: nn.Module, time: nn.Module, process: nn.Module) -> None:
        super().__init__()
        self.marks = marks
        self.time = time
        self.process = process

    def forward(self, types: torch.Tensor, gaps: torch.Tensor, waits: torch.Tensor) -> Any:
        return self.process(self.marks(types) + self.time(gaps), gaps, waits)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, types: Any, embedding: Any, time: Any, hidden: Any,
                 process: Any) -> tuple[nn.Module, Any]:
        kinds, gaps, waits = x
        row = make("Sequential", make("Embedding", types + 1, embedding), make("Linear", hidden))
        marks, rows = builder.part(row, kinds, f"{where}.marks")
        clock, _ = builder.part(make("Sequential", time, make("Linear", hidden, bias=False)), gaps, f"{where}.time")
        part, y = builder.part(process, (rows, gaps, waits), f"{where}.process")
        return MarkedModule(marks, clock, part), y


class RecurrentModule(nn.Module):
    """A row of GRUs and a head."""

    def __init__(self, layers: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.head = head

    def forward(self, x: torch.Tensor, gaps: torch.Tensor, waits: torch.Tensor) -> Any:
        for layer in self.layers:
            x = layer(x)[0]
        return self.head(x, waits)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, hidden: Any, layers: Any, head: Any) -> tuple[nn.Module, Any]:
        y, _, _ = x
        parts = []
        for i in range(builder.decided(layers)):
            part, (y, _) = builder.part(make("GRU", hidden, batch_first=True), y, f"{where}.layer{i}")
            parts.append(part)
        last, z = builder.part(head, y, f"{where}.head")
        return RecurrentModule(parts, last), z


class AttendingModule(nn.Module):
    """A row of causal blocks, a norm and a head."""

    def __init__(self, blocks: list[nn.Module], norm: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.head = head

    def forward(self, x: torch.Tensor, gaps: torch.Tensor, waits: torch.Tensor) -> Any:
        times = gaps.cumsum(1)
        for block in self.blocks:
            x = block(x, times)
        return self.head(self.norm(x), waits)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, blocks: Any, head: Any) -> tuple[nn.Module, Any]:
        y, _, _ = x
        parts = []
        for place, item in builder.row(blocks, f"{where}.blocks"):
            part, y = builder.part(item, y, place)
            parts.append(part)
        norm, y = builder.part(make("LayerNorm"), y, f"{where}.norm")
        last, z = builder.part(head, y, f"{where}.head")
        return AttendingModule(parts, norm, last), z


class HawkesModule(Head):
    """lambda_k(t) = mu_k + sum over m and events j < t of A[m, type j, k] beta_m exp(-beta_m (t - t_j))."""

    exact = True

    def __init__(self, types: int, rates: tuple[float, ...], exponentials: int) -> None:
        super().__init__()
        self.base = nn.Parameter((0.5 * torch.tensor(list(rates)).clamp_min(1e-4)).expm1().log() / SPEED)
        share = 0.5 / exponentials * torch.tensor(list(rates)).clamp_min(1e-4)
        self.weights = nn.Parameter(share.expm1().log().repeat(exponentials, types, 1) / SPEED)
        spread = torch.linspace(1.5, -1.5, exponentials) if exponentials > 1 else torch.zeros(1)
        self.decays = nn.Parameter(spread.exp().expm1().log() / SPEED)

    def parameters_of(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Base rates [K], weights [M, K, K] (source first) and decays [M], all above 0."""
        base, weights, decays = (F.softplus(SPEED * each) for each in (self.base, self.weights, self.decays))
        return base + FLOOR, weights, decays

    def forward(self, types: torch.Tensor, gaps: torch.Tensor, waits: torch.Tensor) -> Any:     # type: ignore[override]
        return super().forward((types, gaps), waits)

    def state(self, h: Any) -> tuple[torch.Tensor, ...]:
        types, gaps = h
        base, weights, decays = self.parameters_of()
        times = gaps.cumsum(1)
        since = (times[:, :, None] - times[:, None, :]).tril()                              # [B, L, L]
        fallen = torch.exp(-decays[:, None, None] * since[:, None]).tril()                  # [B, M, L, L]
        kicks = F.pad(weights * decays[:, None, None], (0, 0, 0, 1))[:, types]              # [M, B, L, K]
        return base, decays, (fallen @ kicks.transpose(0, 1)).transpose(1, 2)[:, :, None]   # [B, L, 1, M, K]

    def intensity(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        base, decays, excited = state
        return base + (excited * torch.exp(-decays * waits[..., None])[..., None]).sum(3)

    def compensator(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        base, decays, excited = state
        covered = -torch.expm1(-decays * waits[..., None]) / decays
        return base.sum() * waits + (excited.sum(-1) * covered).sum(3)


class InhibitingModule(HawkesModule):
    """lambda_k(t) = s_k softplus(x_k(t) / s_k), x as in a `HawkesModule` but with base and weights of any sign.

    All are learned in units of the type's mean rate, so that one learning rate suits frequent and rare types.
    """

    exact = False

    def __init__(self, types: int, rates: tuple[float, ...], exponentials: int) -> None:
        super().__init__(types, rates, exponentials)
        self.base = nn.Parameter(torch.full((types,), 0.5 / SPEED))
        self.weights = nn.Parameter(torch.full((exponentials, types, types), 0.5 / exponentials / SPEED))
        self.softness = nn.Parameter(torch.full((types,), SOFTNESS).log() / SPEED)
        self.register_buffer("rates", torch.tensor(list(rates)).clamp_min(1e-4), persistent=False)
        self.rates: torch.Tensor

    def parameters_of(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Base rates [K] and weights [M, K, K] (source first) of any sign, and decays [M] above 0."""
        return self.rates * SPEED * self.base, self.rates * SPEED * self.weights, F.softplus(SPEED * self.decays)

    def intensity(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        softness = self.rates * torch.exp(SPEED * self.softness)
        return FLOOR + softness * F.softplus(super().intensity(state, waits) / softness)

    def compensator(self, state: tuple[torch.Tensor, ...], waits: torch.Tensor) -> torch.Tensor:
        return Head.compensator(self, state, waits)
