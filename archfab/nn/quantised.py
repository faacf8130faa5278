"""Layers whose weights and inputs have few bits, with learned step sizes (LSQ: Esser et al., ICLR 2020).

A number v becomes step * clip(round(v / step), low, high): -2^(b-1) to 2^(b-1) - 1 of b bits, or 0 to 2^b - 1 where
it is never negative. Weights have a step for each output channel, inputs one for all.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from archfab.core import UsageError
from archfab.space.choices import Expr, outcomes
from archfab.space.descriptions import Describer, Description

BITS = tuple(range(2, 17))
FLOAT = (None, 32)
"""Stands for floating point numbers, as they are."""
LAYERS = ("Conv1d", "Conv2d", "Conv3d", "Linear")
TINY = 1e-8


def Quantised(layer: Any, weight_bits: Any = 8, input_bits: Any = 8, signed: bool = True) -> Description:
    """A convolution or linear layer whose weights and inputs are rounded to so many bits, and trained so.

    :param weight_bits: 2 to 16, or None or 32 for floating point; a number or a choice, as `input_bits` is.
    :param signed: False where the inputs are never negative (after a ReLU): all levels are then from 0 up.
    :raises UsageError: for a part that is no such layer, and for other numbers of bits.
    """
    name = layer.target.removeprefix("torch.nn:") if isinstance(layer, Description) else ""
    if name not in LAYERS:
        raise UsageError(f"nn.Quantised takes a layer: {', '.join(f'nn.{each}(...)' for each in LAYERS)}; not {layer!r}"
                         + ("; put it inside the options: choose(name, one=nn.Quantised(...))"
                            if isinstance(layer, Expr) else ""))
    for key, bits in (("weight_bits", weight_bits), ("input_bits", input_bits)):
        for _, value in outcomes(bits):
            legal(key, value)
    if not isinstance(weight_bits, Expr) and not isinstance(input_bits, Expr) \
            and weight_bits in FLOAT and input_bits in FLOAT:
        return layer
    make = MODULES[name]
    return Describer(make, f"archfab.nn.quantised:{make.__name__}")(
        **layer.kwargs, weight_bits=weight_bits, input_bits=input_bits, signed=signed)


def legal(key: str, bits: Any) -> int | None:
    """A number of bits; None for floating point.

    :raises UsageError: for others.
    """
    if bits is None or (bits in (*BITS, 32) and isinstance(bits, int) and not isinstance(bits, bool)):
        return None if bits in FLOAT else bits
    raise UsageError(f"{key} is a whole number from {BITS[0]} to {BITS[-1]}, or None or 32 for floating point; "
                     f"not {bits!r}")


# --- the operator: one to whoever records a network

@torch.library.custom_op("archfab::quantise", mutates_args=())
def quantise(x: torch.Tensor, spread: torch.Tensor, low: int, high: int, per_channel: bool) -> torch.Tensor:
    """Rounds to the nearest of the levels low to high, in steps of e^spread / sqrt(high).

    :param per_channel: whether spread has an entry for each index of the first axis of x.
    """
    return plain(x, spread, low, high, per_channel)


def plain(x: torch.Tensor, spread: torch.Tensor, low: int, high: int, per_channel: bool) -> torch.Tensor:
    """The same in torch's own operators."""
    step = step_of(x, spread, high, per_channel)
    return torch.round(x / step).clamp(low, high) * step


def step_of(x: torch.Tensor, spread: torch.Tensor, high: int, per_channel: bool) -> torch.Tensor:
    """The steps, in a shape that goes with x."""
    step = spread.exp() / math.sqrt(high)
    return step.reshape(-1, *[1] * (x.dim() - 1)) if per_channel else step


@quantise.register_fake
def _(x: torch.Tensor, spread: torch.Tensor, low: int, high: int, per_channel: bool) -> torch.Tensor:
    return torch.empty_like(x)


def remember(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    """Keeps what the gradient needs."""
    x, spread, ctx.low, ctx.high, ctx.per_channel = inputs
    ctx.save_for_backward(x, spread)


def gradient(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """Of x straight through between the outermost levels; of the step as LSQ's equation 3, times 1 / sqrt(N high)
    (section 2.2), with N the weights of a channel, or the inputs of one sample."""
    x, spread = ctx.saved_tensors
    step = step_of(x, spread, ctx.high, ctx.per_channel)
    v = x / step
    inside = (v > ctx.low) & (v < ctx.high)
    slope = g * torch.where(inside, torch.round(v) - v, v.clamp(ctx.low, ctx.high))
    scale = 1 / math.sqrt(max(1, x[0].numel()) * ctx.high)
    total = slope.flatten(1).sum(1) if ctx.per_channel else slope.sum()
    return g * inside, (total * scale * step.reshape(spread.shape)), None, None, None


quantise.register_autograd(gradient, setup_context=remember)


# --- layers

class Quantising:
    """What quantised layers have in common: the logarithms of their spreads, 2 mean|v|, out of which come steps of
    2 mean|v| / sqrt(high) (LSQ, section 2.1), and whether these were taken from data.

    They are taken anew from the weights and the inputs of the first training step. Before that inputs count as normal
    deviates. A logarithm learns at the same pace whatever the size of the step, and is the same for all widths.
    """

    weight: torch.Tensor
    seen: torch.Tensor
    training: bool
    started = False

    def quantise_by(self, weight_bits: int | None, input_bits: int | None, signed: bool) -> None:
        self.weight_bits = legal("weight_bits", weight_bits)
        self.input_bits = legal("input_bits", input_bits)
        self.signed = signed
        if self.weight_bits:
            self.weight_spread = nn.Parameter(spread_of(self.weight.detach(), True))
        if self.input_bits:
            self.input_spread = nn.Parameter(torch.tensor(math.log(2 * math.sqrt(2 / math.pi))))
        self.register_buffer("seen", torch.zeros(()))       # type: ignore[attr-defined]

    def rounded(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The input and the weights in their bits."""
        if self.training and not self.started:
            self.start(x)
        weight = self.weight
        if self.weight_bits:
            weight = rounded(weight, self.weight_spread, self.weight_bits, True, True)
        if self.input_bits:
            x = rounded(x, self.input_spread, self.input_bits, self.signed, False)
        return x, weight

    @torch.no_grad()
    def start(self, x: torch.Tensor) -> None:
        """Takes the spreads from what is there, unless some network with these weights did so before.

        :raises UsageError: where inputs are negative that were said never to be.
        """
        if self.input_bits and not self.signed and x.numel() and bool((x < 0).any()):
            raise UsageError("a quantised layer with signed=False got negative inputs; leave signed=False out")
        if not self.seen:
            if self.weight_bits:
                self.weight_spread.copy_(spread_of(self.weight, True))
            if self.input_bits:
                self.input_spread.copy_(spread_of(x, False))
            self.seen.fill_(1.0)
        self.started = True

    def extra_repr(self) -> str:
        """Torch's, with the bits."""
        kind = "" if self.signed else ", signed=False"
        return f"{super().extra_repr()}, weight_bits={self.weight_bits}, input_bits={self.input_bits}{kind}"  # type: ignore

    def _load_from_state_dict(self, *args: Any) -> None:
        self.started = False
        super()._load_from_state_dict(*args)    # type: ignore[misc]


def rounded(x: torch.Tensor, spread: torch.Tensor, bits: int, signed: bool, per_channel: bool) -> torch.Tensor:
    """Numbers in so many bits; in torch's own operators where a network is exported."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return (plain if torch.compiler.is_exporting() else quantise)(x, spread, low, high, per_channel)


def spread_of(x: torch.Tensor, per_channel: bool) -> torch.Tensor:
    """ln(2 mean|x|), for each index of the first axis or for all."""
    mean = x.abs().flatten(1).mean(1) if per_channel else x.abs().mean()
    return (2 * mean).clamp_min(TINY).log()


def layer_of(name: str) -> type[nn.Module]:
    """The class of a quantised layer; its arguments are those of torch's, and three more."""
    base: Any = getattr(nn, name)

    def __init__(self: Any, *args: Any, weight_bits: int | None, input_bits: int | None, signed: bool = True,
                 **kwargs: Any) -> None:
        base.__init__(self, *args, **kwargs)
        self.quantise_by(weight_bits, input_bits, signed)

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        x, weight = self.rounded(x)
        return F.linear(x, weight, self.bias) if base is nn.Linear else self._conv_forward(x, weight, self.bias)

    known = inspect.signature(base)
    more = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default)
            for key, default in (("weight_bits", inspect.Parameter.empty), ("input_bits", inspect.Parameter.empty),
                                 ("signed", True))]
    return type(f"Quantised{name}", (Quantising, base), {
        "__doc__": f"torch's {name} on rounded weights and inputs.", "__module__": __name__, "__init__": __init__,
        "forward": forward, "__signature__": known.replace(parameters=[*known.parameters.values(), *more])})


MODULES = {name: layer_of(name) for name in LAYERS}
globals().update({each.__name__: each for each in MODULES.values()})     # where their addresses say
