"""Parts with weights, each of variance one: features are [atoms, components, channels], with as many channels of each
kind, so that a network of fewer channels or kinds has the first of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archfab.core import BuildError
from archfab.space.descriptions import Describer, Description
from archfab.tasks.molecules.coupling import size

SILU = 1.6765325     # 1 / sqrt(E[silu(z)^2]) of normal z: activations keep the variance
TANH = 1.5925374
HERE = "archfab.tasks.molecules.parts"


def part(name: str, *args: Any, **kwargs: Any) -> Description:
    """A description of a part of this file."""
    return Describer(globals()[name], f"{HERE}:{name}")(*args, **kwargs)


def normal(*shape: int, dtype: str) -> nn.Parameter:
    weight = nn.Parameter(torch.empty(*shape, dtype=getattr(torch, dtype)))
    nn.init.normal_(weight)
    return weight


class Embedding(nn.Module):
    """A vector for each species: [N, species] of one 1 a row -> [N, 1, channels]."""

    def __init__(self, species: int, channels: int, dtype: str) -> None:
        super().__init__()
        self.weight = normal(species, channels, dtype=dtype)

    def forward(self, species: torch.Tensor) -> torch.Tensor:
        return (species @ self.weight)[:, None]


class Dense(nn.Module):
    """x W / sqrt(inputs), without a bias: what is zero stays zero."""

    def __init__(self, in_features: int, out_features: int, dtype: str = "float32") -> None:
        super().__init__()
        self.weight = normal(in_features, out_features, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight / math.sqrt(self.weight.shape[0])


class Activation(nn.Module):
    """An activation that is zero at zero, scaled to variance 1: silu or tanh."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind not in ("silu", "tanh"):
            raise BuildError(f"radial nets have the activations silu and tanh, not '{kind}': what goes to zero at the "
                             "cutoff must stay zero")
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(x) * SILU if self.kind == "silu" else torch.tanh(x) * TANH


class Bessel(nn.Module):
    """The first waves in a sphere that vanish at its surface, times an envelope of two smooth derivatives there
    (Gasteiger et al., DimeNet, ICLR 2020, equations 7 and 8, p = 6): lengths [E] -> [E, number].

    As in NequIP the waves are 2 / r_max sin(n pi r / r_max) / r, and their frequencies are learned.
    """

    def __init__(self, r_max: float, number: int, dtype: str) -> None:
        super().__init__()
        self.r_max = r_max
        self.frequencies = nn.Parameter(math.pi * torch.arange(1, number + 1, dtype=getattr(torch, dtype)))

    def forward(self, length: torch.Tensor) -> torch.Tensor:
        share = length[:, None] / self.r_max
        return torch.sin(share * self.frequencies) / length[:, None] * envelope(share) * (2 / self.r_max)


def envelope(share: torch.Tensor) -> torch.Tensor:
    """1 at 0, and 0 from 1 on, with the first two derivatives."""
    sixth = share**6
    return (1 - 28 * sixth + 48 * sixth * share - 21 * sixth * share * share) * (share < 1)


class PathWeights(nn.Module):
    """The weights of each path and channel of a convolution, linear in what the radial net says: [E, H] -> [E, P, C].

    :param paths: their names by the kind of feature that they lead to.
    """

    def __init__(self, in_features: int, paths: Mapping[str, Sequence[str]], channels: int, dtype: str) -> None:
        super().__init__()
        self.names = named(paths)
        self.weight = normal(in_features, len(self.names), channels, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight / math.sqrt(len(self.weight))
        return (x @ weight.flatten(1)).unflatten(1, self.weight.shape[1:])

    def lend(self, small: PathWeights) -> dict[str, Any]:
        inputs, _, channels = small.weight.shape
        return {"weight": rows(self.weight[:inputs, :, :channels], 1, self.names, small.names)}


class Mix(nn.Module):
    """Sums of features of one kind over paths and channels: the only linear maps that turn as features do.

    [N, columns, inputs] -> [N, columns, channels]: for each kind, components times paths in, components times outputs
    out. Scalars may have several outputs: values, and the gates of others. A kind that nothing leads to is zero.

    :param paths: names of what comes in, by kind. :param outputs: names of what goes out, by kind.
    :param share: of the paths that are not zero, which the variance is reckoned by.
    """

    def __init__(self, paths: Mapping[str, Sequence[str]], outputs: Mapping[str, Sequence[str]], inputs: int,
                 channels: int, dtype: str, share: float = 1.0) -> None:
        super().__init__()
        self.paths, self.outputs, self.channels, self.share = named_by(paths), named_by(outputs), channels, share
        self.columns = [size(kind) * len(ways) for kind, ways in self.paths.items()]
        self.weights = nn.ParameterDict({
            kind: normal(len(paths[kind]), inputs, len(outputs[kind]), channels, dtype=dtype)
            for kind in paths if kind in outputs})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        blocks = dict(zip(self.paths, x.split(self.columns, 1), strict=True))
        found = [self.mixed(blocks[kind], kind) if kind in self.weights
                 else x.new_zeros(x.shape[0], size(kind) * len(outputs), self.channels)
                 for kind, outputs in self.outputs.items()]
        return torch.cat(found, 1) if len(found) > 1 else found[0]

    def mixed(self, x: torch.Tensor, kind: str) -> torch.Tensor:
        """What comes of the features of one kind: [N, components * paths, inputs] -> [N, components * outputs, C]."""
        weight = self.weights[kind]
        paths, inputs, outputs, channels = weight.shape
        scaled = weight.reshape(paths * inputs, outputs * channels) / math.sqrt(paths * self.share * inputs)
        y = x.reshape(-1, paths * inputs) @ scaled
        return y.reshape(-1, size(kind) * outputs, channels)

    def lend(self, small: Mix) -> dict[str, Any]:
        found = {}
        for kind, weight in small.weights.items():
            _, inputs, _, channels = weight.shape
            large = self.weights[kind][:, :inputs, :, :channels]
            chosen = places(self.paths[kind], small.paths[kind])
            given = places(self.outputs[kind], small.outputs[kind])
            found[f"weights.{kind}"] = picked(large, chosen, given)
        return found


def named(paths: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Each path with where it leads to, in the order of the columns."""
    return tuple(f"{way} -> {kind}" for kind, ways in paths.items() for way in ways)


def named_by(paths: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {kind: tuple(ways) for kind, ways in paths.items()}


def places(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    return [list(names).index(name) for name in wanted]


def rows(weight: torch.Tensor, axis: int, names: Sequence[str], wanted: Sequence[str]) -> Any:
    """The entries along an axis that have some names: a view where they are the first ones, else a function."""
    found = places(names, wanted)
    if found == list(range(len(found))):
        return weight.narrow(axis, 0, len(found))
    return lambda: weight.index_select(axis, torch.tensor(found, device=weight.device))


def picked(weight: torch.Tensor, first: list[int], third: list[int]) -> Any:
    """Some entries along axes 0 and 2: a view where they are the first ones, else a function."""
    if first == list(range(len(first))) and third == list(range(len(third))):
        return weight[:len(first), :, :len(third)]
    return lambda: weight[first][:, :, third]
