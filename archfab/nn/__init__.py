"""Descriptions of network parts: every class of torch.nn under its own name, and our own blocks.

What the input tells is left out: `nn.Conv2d(16, 3)` has 16 output channels and a 3x3 kernel. Named in full,
it can be given: `nn.Conv2d(16, 3, in_channels=8)`.
"""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any

import torch.nn

from archfab.nn.attention import Attention, AttentionBlock, Mlp, Patches, Positions, TokenClassifier
from archfab.nn.blocks import (
    Classifier,
    ConvNormAct,
    MBConv,
    Residual,
    ResidualBlock,
    SeparableConv,
    SqueezeExcite,
)
from archfab.nn.cells import Cell, CellChain, Edge, Zero, darts_cell, nasbench201_cell
from archfab.nn.quantised import Quantised
from archfab.space.choices import CHANNELS
from archfab.space.descriptions import Describer, signature_of

__all__ = ["CHANNELS", "Attention", "AttentionBlock", "Cell", "CellChain", "Classifier", "ConvNormAct", "Edge",
         "MBConv", "Mlp", "Patches", "Positions", "Quantised", "Residual", "ResidualBlock", "SeparableConv",
         "SqueezeExcite", "TokenClassifier", "Zero", "darts_cell", "nasbench201_cell"]
_described: dict[str, Describer] = {}


def torch_names() -> list[str]:
    """The classes of torch.nn that are modules and can be made."""
    return sorted(name for name, found in vars(torch.nn).items()
                  if inspect.isclass(found) and issubclass(found, torch.nn.Module) and found is not torch.nn.Module)


def signature(target: str, make: Any) -> inspect.Signature | None:
    """A callable's signature; torch's recurrent layers hide theirs behind *args, so it is looked up below."""
    if target in ("torch.nn:RNN", "torch.nn:GRU", "torch.nn:LSTM"):
        base = signature_of(torch.nn.RNNBase)
        assert base
        shown = [p for name, p in base.parameters.items() if name != "mode"]
        if target == "torch.nn:RNN":
            shown.insert(3, inspect.Parameter("nonlinearity", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="tanh"))
        return base.replace(parameters=shown)
    return signature_of(make)


def __getattr__(name: str) -> Describer:
    if name.startswith("_"):
        raise AttributeError(name)
    if name not in _described:
        names = torch_names()
        if name not in names:
            raise AttributeError(_no_part(name, [*names, *__all__]))
        make, target = getattr(torch.nn, name), f"torch.nn:{name}"
        _described[name] = Describer(make, target, signature(target, make))
    return _described[name]


def __dir__() -> list[str]:
    return sorted([*__all__, *torch_names()])


def _no_part(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    guess = f"; did you mean nn.{near[0]}?" if near else ""
    return f"archfab.nn has no '{name}': neither a class of torch.nn nor a block of ours{guess}"
