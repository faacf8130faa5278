"""Controllers that remember: an LSTM and a Transformer, which see every decision taken before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention

from archfab.surrogates.controllers import NEVER, Batch, Controller, Vocabulary

WIDTH = 32
SCALE = 0.1         # initial weights are even between -SCALE and SCALE (Pham et al., ENAS, ICML 2018)


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from more threads, and threads that wait for each other stall other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Memory:
    """What a network remembers of the decisions before, and the last option taken (0: none)."""

    inner: Any
    last: int = 0


class Sequences(Controller):
    """A network that says the logits of one decision after another, and climbs by Adam (Kingma and Ba, ICLR 2015).

    Each step sees the option taken last and which decision is to be taken now, so that it may be any decision
    of a conditional space; every decision has an output row for each of its own options.
    """

    def __init__(self, name: str, vocabulary: Vocabulary, rate: float) -> None:
        with torch.device("meta"):      # so that no initial weights are drawn from torch's global generator
            network = Network({"lstm": LSTM, "transformer": Transformer}[name](), vocabulary)
        self.network = network.to(torch.float64).to_empty(device="cpu")
        generator = torch.Generator().manual_seed(0)
        for weights in self.network.parameters():
            nn.init.uniform_(weights, -SCALE, SCALE, generator)
        self.counts = [len(labels) for labels in vocabulary.labels]
        self.first = np.cumsum([1, *self.counts])[:-1]           # each decision's first option among all options
        held = np.arange(vocabulary.widest) < np.array(self.counts)[:, None]
        self.rows = torch.from_numpy(np.where(held, self.first[:, None] + np.arange(vocabulary.widest), 0))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=rate)

    def start(self) -> Memory:
        return Memory(None)

    @one_thread()
    @torch.inference_mode()
    def step(self, memory: Memory, decision: int) -> tuple[list[float], Memory]:
        rows = self.rows[decision, :self.counts[decision]]
        logits, inner = self.network(torch.tensor([[decision]]), torch.tensor([[memory.last]]), rows[None, None],
                                     memory.inner)
        return logits[0, 0].tolist(), Memory(inner, memory.last)

    def take(self, memory: Memory, decision: int, option: int) -> Memory:
        return Memory(memory.inner, int(self.first[decision]) + option)

    @one_thread()
    @torch.no_grad()
    def logits(self, batch: Batch) -> np.ndarray:
        return self._logits(batch).numpy()

    @one_thread()
    def learn(self, batch: Batch, gradient: Callable[[np.ndarray], np.ndarray]) -> None:
        logits = self._logits(batch)
        self.optimizer.zero_grad()
        logits.backward(torch.from_numpy(-gradient(logits.detach().numpy())))
        self.optimizer.step()

    def _logits(self, batch: Batch) -> Tensor:
        taken = self.first[batch.decisions] + batch.options
        last = np.concatenate([np.zeros_like(taken[:, :1]), taken[:, :-1]], 1)
        decisions = torch.from_numpy(batch.decisions)
        rows = self.rows[decisions]
        logits, _ = self.network(decisions, torch.from_numpy(last), rows, None)
        return logits.masked_fill(rows == 0, NEVER)


class Network(nn.Module):
    """Embeddings, what remembers, and an output row for each option of each decision."""

    def __init__(self, core: nn.Module, vocabulary: Vocabulary) -> None:
        super().__init__()
        options = 1 + sum(map(len, vocabulary.labels))
        self.core = core
        self.decisions = nn.Embedding(len(vocabulary.labels), WIDTH)
        self.last = nn.Embedding(options, WIDTH)
        self.out = nn.Embedding(options, WIDTH)
        self.bias = nn.Embedding(options, 1)

    def forward(self, decisions: Tensor, last: Tensor, rows: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Logits [episodes, steps, options] of the options whose numbers are `rows`, and the memory after them."""
        hidden, memory = self.core(self.decisions(decisions) + self.last(last), memory)
        return (self.out(rows) @ hidden[..., None] + self.bias(rows))[..., 0], memory


class LSTM(nn.Module):
    """One layer (Hochreiter and Schmidhuber, Neural Computation 1997), as in Zoph and Le, ICLR 2017."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor, memory: Any) -> tuple[Tensor, Any]:
        return self.cell(x, memory)


class Transformer(nn.Module):
    """Two pre-norm blocks in which each step attends to itself and those before (Vaswani et al., NeurIPS 2017).

    The memory holds keys and values of the steps so far. A step's place is told by which decision it is.
    """

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, x: Tensor, memory: Any) -> tuple[Tensor, Any]:
        held = []
        for block, past in zip(self.blocks, memory or [None] * len(self.blocks), strict=True):
            x, past = block(x, past)
            held.append(past)
        return layer_norm(x, (WIDTH,)), held


class Block(nn.Module):
    """Attention and a multilayer perceptron, each added to what came in."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.merge = nn.Linear(WIDTH, WIDTH)
        self.widen = nn.Linear(WIDTH, 2 * WIDTH)
        self.narrow = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor, past: Any) -> tuple[Tensor, Any]:
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
                             for part in self.project(layer_norm(x, (WIDTH,))).chunk(3, -1))
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        steps, seen = query.shape[2], key.shape[2]
        before = torch.ones(steps, seen, dtype=torch.bool).tril(seen - steps)
        mixed = scaled_dot_product_attention(query, key, value, before)
        x = x + self.merge(mixed.transpose(1, 2).flatten(2))
        return x + self.narrow(gelu(self.widen(layer_norm(x, (WIDTH,))))), (key, value)
