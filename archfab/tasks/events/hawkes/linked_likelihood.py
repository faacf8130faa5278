"""The log-likelihood of a Hawkes process with a link, as a function of tensors; a link keeps intensities above 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from archfab.tasks.events.hawkes.history import History
from archfab.tasks.events.hawkes.scan import scan

NODES = 32          # of the quadrature: off by 1e-5 of an event where softplus turns within a tenth of a rate
KEPT = 20_000_000   # values whose derivatives are kept in memory; where there are more, they are computed again


class Scan(torch.autograd.Function):
    """`scan` as an operation with derivatives of every order: the gradient is a scan backwards."""

    @staticmethod
    def forward(ctx: Any, decay: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        found = torch.from_numpy(scan(decay.detach().numpy(), inputs.detach().numpy()))
        ctx.save_for_backward(decay, found)
        return found

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        decay, found = ctx.saved_tensors
        later = torch.cat([torch.zeros_like(decay[:1]), decay.flip(0)[:-1]])
        back = Scan.apply(later, slope.flip(0)).flip(0)
        before = torch.cat([torch.zeros_like(found[:1]), found[:-1]])
        return (back * before).sum(1, keepdim=True), back


class Likelihood:
    """The log-likelihood of a linked process as a function of tensors, with derivatives by torch.

    :param softness: [K], over which part of the intensity the corner of softplus is rounded; None: relu.
    :param nodes: of the quadrature between neighbouring events.
    """

    def __init__(self, history: History, softness: np.ndarray | None, nodes: int = NODES) -> None:
        self.history, kinds = history, history.kinds
        self.softness = None if softness is None else torch.from_numpy(softness)
        self.gaps = torch.from_numpy(history.gaps)[:, None]
        self.kept = torch.from_numpy(~history.first)[:, None]
        self.marks = torch.from_numpy(np.eye(kinds)[history.types])
        self.stays = torch.from_numpy(history.stays)[:, None]
        self.index, self.types = (torch.from_numpy(each) for each in (history.order, history.types[history.order]))
        x, w = np.polynomial.legendre.leggauss(nodes)
        self.x, self.w = torch.from_numpy((x + 1) / 2), torch.from_numpy(w / 2)

    def link(self, x: torch.Tensor) -> torch.Tensor:
        if self.softness is None:
            return x.clamp_min(0)
        return self.softness * torch.nn.functional.softplus(x / self.softness)

    def excited(self, weights: torch.Tensor, decays: torch.Tensor) -> torch.Tensor:
        """The linear excitation just after each event, [N, M, K]."""
        return torch.stack([Scan.apply(torch.exp(-decay * self.gaps) * self.kept, self.marks) @ (weight * decay)
                            for weight, decay in zip(weights, decays, strict=True)], dim=1)

    def at_events(self, base: torch.Tensor, excited: torch.Tensor, decays: torch.Tensor) -> torch.Tensor:
        """The linear intensity of its own type at each scored event, in the order of the history."""
        before = torch.cat([torch.zeros_like(excited[:1]), excited[:-1]])
        fallen = (before * torch.exp(-decays * self.gaps)[..., None]).sum(1) * self.kept
        return base[self.types] + fallen[self.index, self.types]

    def beyond(self, base: torch.Tensor, excited: torch.Tensor, decays: torch.Tensor) -> torch.Tensor:
        """The integral after each event of the intensity less what it is without a past, [N, K]."""
        if self.softness is None and len(decays) == 1:
            return self.cut(base, excited[:, 0], decays[0])
        return self.quadrature(base, excited, decays)

    def cut(self, base: torch.Tensor, excited: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
        """Exact, for relu and one exponential: an inhibited intensity is 0 until inhibition has faded to the base."""
        off = excited < -base
        wait = torch.where(off, torch.log(torch.where(off, -excited / base, 1.0)) / decay, 0.0).minimum(self.stays)
        return excited * (torch.exp(-decay * wait) - torch.exp(-decay * self.stays)) / decay - base * wait

    def quadrature(self, base: torch.Tensor, excited: torch.Tensor, decays: torch.Tensor) -> torch.Tensor:
        """By points between each event and the next.

        By Gauss and Legendre's rule in s, where exp(-slowest decay x time) falls from 1 as (1 - s)^2 does: the
        integrand is smooth and bounded there, however long the wait.
        """
        slowest = decays.min()
        end = torch.exp(-slowest * self.stays)
        rest = self.link(base)

        def term(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            v = end + (1 - end) * (1 - (1 - x) ** 2)
            fallen = v ** (decays / slowest)                                        # [N, M]
            value = self.link(base + (excited * fallen[..., None]).sum(1)) - rest
            return value * (w * 2 * (1 - x) * (1 - end) / (slowest * v))

        thrifty = torch.is_grad_enabled() and excited.numel() * len(self.x) > KEPT
        total = torch.zeros_like(excited[:, 0])
        for x, w in zip(self.x, self.w, strict=True):
            total = total + (checkpoint(term, x, w, use_reentrant=False) if thrifty else term(x, w))
        return total

    def logarithm(self, linear: torch.Tensor, least: torch.Tensor | None) -> torch.Tensor:
        """Of the intensity of each scored event's type, from the linear one."""
        if self.softness is not None:
            softness = self.softness[self.types]
            z = linear / softness
            return softness.log() + torch.where(z < -30, z, torch.nn.functional.softplus(z.clamp_min(-30)).log())
        if least is None:
            return linear.clamp_min(0).log()
        lowest = least[self.types]
        tangent = lowest.log() + (linear - lowest) / lowest
        return torch.where(linear >= lowest, linear.maximum(lowest).log(), tangent)

    def __call__(self, base: torch.Tensor, weights: torch.Tensor, decays: torch.Tensor,
                 least: torch.Tensor | None = None) -> torch.Tensor:
        """The log-likelihood.

        :param least: [K], for relu: below it the logarithm goes on as its tangent, so that a search can come back. What
            comes of that is too high: a search's end is scored without it.
        """
        excited = self.excited(weights, decays)
        gained = self.logarithm(self.at_events(base, excited, decays), least)
        return gained.sum() - self.link(base).sum() * self.history.duration - self.beyond(base, excited, decays).sum()
