"""How the options of a decision are weighed against each other: plain, independent, drawn, or gated."""

from __future__ import annotations

from collections.abc import Callable

import torch

from archfab.core import unknown

Weighed = tuple[torch.Tensor, list[int]]
"""A weight for each option, and the options that are computed (the others have weight 0)."""


def softmax(logits: torch.Tensor, temperature: float, draws: torch.Generator | None) -> Weighed:
    """All options, by a softmax (Liu et al., DARTS, ICLR 2019)."""
    return (logits / temperature).softmax(0), list(range(len(logits)))


def sigmoid(logits: torch.Tensor, temperature: float, draws: torch.Generator | None) -> Weighed:
    """All options, each by itself, so that none gains by another's loss (Chu et al., Fair DARTS, ECCV 2020)."""
    return (logits / temperature).sigmoid(), list(range(len(logits)))


def gumbel(logits: torch.Tensor, temperature: float, draws: torch.Generator | None) -> Weighed:
    """All options, by a softmax of the logits with Gumbel noise; at temperature -> 0 one option, each drawn with its
    softmax probability (Jang et al., ICLR 2017; Wu et al., FBNet, CVPR 2019)."""
    return noisy(logits, temperature, draws), list(range(len(logits)))


def hard_gumbel(logits: torch.Tensor, temperature: float, draws: torch.Generator | None) -> Weighed:
    """The one option with the largest noisy logit, with the gradient of the soft weights (Dong and Yang, GDAS, CVPR
    2019)."""
    soft = noisy(logits, temperature, draws)
    best = int(soft.argmax())
    return one_hot(best, soft) + (soft - soft.detach()), [best]


def gates(logits: torch.Tensor, temperature: float, draws: torch.Generator | None) -> Weighed:
    """Two drawn options, of which one is let through; the gradient reaches both (Cai et al., ProxylessNAS, ICLR
    2019)."""
    two = sorted(drawn(logits, min(2, len(logits)), draws))
    soft = logits[two].softmax(0)
    kept = drawn(logits[two], 1, draws)[0]
    hard = one_hot(kept, soft) + (soft - soft.detach())
    return torch.zeros_like(logits).index_copy(0, torch.tensor(two, device=logits.device), hard), two


def one_path(logits: torch.Tensor, temperature: float, draws: torch.Generator | None) -> Weighed:
    """One option drawn with its softmax probability, without a gradient: to train weights on."""
    chosen = drawn(logits, 1, draws)[0]
    return one_hot(chosen, logits), [chosen]


def drawn(logits: torch.Tensor, number: int, draws: torch.Generator | None) -> list[int]:
    """Different options, each by its softmax probability among those that are left."""
    chances = logits.detach().cpu().softmax(0).clamp_min(1e-30)     # none is so rare that two could not be drawn
    return torch.multinomial(chances, number, generator=draws).tolist()


def noisy(logits: torch.Tensor, temperature: float, draws: torch.Generator | None) -> torch.Tensor:
    """softmax((log p + g) / temperature), g = -log(-log(u)) with u uniform."""
    u = torch.rand(len(logits), generator=draws).clamp_(1e-20, 1 - 1e-7).to(logits.device)
    return ((logits.log_softmax(0) - (-u.log()).log()) / temperature).softmax(0)


def one_hot(index: int, like: torch.Tensor) -> torch.Tensor:
    found = torch.zeros_like(like, requires_grad=False)
    found[index] = 1
    return found


WEIGHTINGS: dict[str, Callable[[torch.Tensor, float, torch.Generator | None], Weighed]] = {
    "softmax": softmax, "sigmoid": sigmoid, "gumbel": gumbel, "hard_gumbel": hard_gumbel, "gates": gates,
    "one_path": one_path}


EVERY = ("softmax", "sigmoid", "gumbel")
"""Those that compute all options."""


def weighting(name: str) -> Callable[[torch.Tensor, float, torch.Generator | None], Weighed]:
    """A weighting by its name."""
    if name not in WEIGHTINGS:
        raise unknown("weighting", name, list(WEIGHTINGS))
    return WEIGHTINGS[name]
