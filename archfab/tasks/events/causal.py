"""Blocks of a transformer over events in which no event sees a later one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from archfab.nn.attention import AttentionModule, Mlp, attending
from archfab.nn.blocks import make
from archfab.space.descriptions import Describer, Description


def CausalBlock(heads: Any, head_size: Any = 8, ratio: Any = 2, fading: Any = True) -> Description:
    """x + attention(norm(x)), then x + mlp(norm(x)), on rows [B, L, E] and their times [B, L]; row i sees rows 0 to i.

    :param fading: whether heads attend less to what is long ago: the logits of each fall with time by a learned rate of
        its own, a decay like that of a Hawkes kernel. Without it, rows know of time what their inputs say.
    """
    return Describer(BlockModule, "archfab.tasks.events.causal:BlockModule")(heads, head_size, ratio, fading)


class Fading(nn.Module):
    """What falls off the logits of each head with the time between two rows: [B, L] -> [B, H, L, L]."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.linspace(-4.0, 0.0, heads))

    def forward(self, times: torch.Tensor) -> torch.Tensor:
        since = (times[:, :, None] - times[:, None, :]).clamp_min(0)
        return F.softplus(self.rate)[:, None, None] * since[:, None]


class CausalAttention(AttentionModule):
    """Multi-head attention on rows up to each one (Vaswani et al., NeurIPS 2017), as a matrix of logits with a mask."""

    def __init__(self, heads: int, query: nn.Module, key: nn.Module, value: nn.Module, out: nn.Module,
                 fading: nn.Module | None) -> None:
        super().__init__(heads, query, key, value, out)
        self.fading = fading

    def forward(self, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:    # type: ignore[override]
        q, k, v = self.split(x)
        logits = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        if self.fading is not None:
            logits = logits - self.fading(times)
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        return self.out((logits.masked_fill(later, -torch.inf).softmax(-1) @ v).transpose(1, 2).flatten(2))

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, heads: Any, head_size: Any,      # type: ignore[override]
                 fading: Any) -> tuple[nn.Module, Any]:
        layers, z = attending(builder, x, where, heads, head_size)
        fades = None
        if builder.decided(fading, x):
            times = torch.empty(*x.shape[:2], device="meta")
            fades, _ = builder.part(Describer(Fading, "archfab.tasks.events.causal:Fading")(layers[0]), times,
                                    f"{where}.fading")
        return CausalAttention(*layers, fades), z


class BlockModule(nn.Module):
    """What a `CausalBlock` becomes."""

    def __init__(self, norm: nn.Module, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.attention = attention
        self.mlp = mlp

    def forward(self, x: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm(x), times)
        return x + self.mlp(x)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, heads: Any, head_size: Any, ratio: Any,
                 fading: Any) -> tuple[nn.Module, Any]:
        norm, y = builder.part(make("LayerNorm"), x, f"{where}.norm")
        attend = Describer(CausalAttention, "archfab.tasks.events.causal:CausalAttention")(heads, head_size, fading)
        attention, y = builder.part(attend, y, f"{where}.attention")
        mlp, y = builder.part(make("Sequential", make("LayerNorm"), Mlp(ratio)), y, f"{where}.mlp")
        return BlockModule(norm, attention, mlp), y
