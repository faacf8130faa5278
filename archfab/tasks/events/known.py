"""The networks of the literature that a search has to beat, at a middling size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from archfab.tasks.events.causal import BlockModule, CausalAttention
from archfab.tasks.events.continuous import GATES, ContinuousLayer, ContinuousModule, Gates
from archfab.tasks.events.heads import LinearModule, Softplus
from archfab.tasks.events.processes import AttendingModule, ClockModule, MarkedModule, NoTimeModule

WAVES, HEAD_SIZE = 4, 8


def neural_hawkes(rates: Sequence[float], size: int = 32, embedding: int = 8) -> MarkedModule:
    """The process of Mei and Eisner (NeurIPS 2017): one layer of a continuous-time LSTM that sees types alone."""
    layer = ContinuousLayer(Gates(size, GATES, size), Gates(size, GATES, size, bias=False))
    process = ContinuousModule([layer], nn.Linear(size, len(rates)), Softplus(tuple(rates)))
    time = nn.Sequential(NoTimeModule(), nn.Linear(1, size, bias=False))
    return MarkedModule(marks(rates, size, embedding), time, process)


def transformer(rates: Sequence[float], size: int = 32, embedding: int = 8, blocks: int = 2,
                heads: int = 2) -> MarkedModule:
    """The process of Zuo et al. (ICML 2020), causal, and with the integral over all types."""
    process = AttendingModule([block(size, heads) for _ in range(blocks)], nn.LayerNorm(size),
                              LinearModule(nn.Linear(size, len(rates)), nn.Linear(1, len(rates), bias=False),
                                           Softplus(tuple(rates))))
    time = nn.Sequential(ClockModule(WAVES), nn.Linear(2 + 2 * WAVES, size, bias=False))
    return MarkedModule(marks(rates, size, embedding), time, process)


def marks(rates: Sequence[float], size: int, embedding: int) -> nn.Module:
    return nn.Sequential(nn.Embedding(len(rates) + 1, embedding), nn.Linear(embedding, size))


def block(size: int, heads: int) -> BlockModule:
    inner = heads * HEAD_SIZE
    query, key, value = (nn.Linear(size, inner) for _ in range(3))
    attention = CausalAttention(heads, query, key, value, nn.Linear(inner, size), None)
    mlp = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
    return BlockModule(nn.LayerNorm(size), attention, mlp)
