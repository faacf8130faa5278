"""Spaces for interatomic potentials: NequIP, many-body products as MACE has them, layers chosen one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archfab import nn
from archfab.space import choose, repeat
from archfab.space.descriptions import Description
from archfab.tasks.molecules.interaction import Interaction
from archfab.tasks.molecules.parts import part
from archfab.tasks.molecules.potential import Potential

BASIS = 8       # Bessel functions


def radial(layers: Any, width: Any, dtype: str, activation: str = "silu") -> Description:
    """The net from the radial basis to what a convolution's filters are linear in."""
    layer = nn.Sequential(part("Dense", width, dtype), part("Activation", activation))
    return nn.Sequential(repeat(layers, lambda i: layer))


def nequip(constants: Mapping[str, Any], cutoffs: tuple[float, ...], small: bool = False) -> Description:
    """NequIP: cutoff, layers, degree, channels, parity, basis and radial net are decided.

    :param small: for a small data set: fewer channels and layers.
    """
    features = choose("features", 4, 8, 16) if small else choose("features", 8, 16, 32)
    degree, parity = choose("l_max", 0, 1, 2), choose("parity", "natural", "both")
    width = choose("radial.width", 8, 16, 32) if small else choose("radial.width", 16, 32, 64)
    net = radial(choose("radial.layers", 1, 2), width, constants["dtype"])
    depth = choose("layers", 1, 2) if small else choose("layers", 2, 3, 4)

    def layer(i: int, last: bool = False) -> Description:
        return Interaction(features, degree, parity, net, 1, last)

    return Potential(**constants, r_max=choose("r_max", *cutoffs), basis=choose("basis", 6, 8, 10), l_max=degree,
                     features=features, layers=[repeat(depth - 1, layer), layer(0, last=True)])


def mace(constants: Mapping[str, Any], cutoffs: tuple[float, ...], small: bool = False) -> Description:
    """One or two layers whose messages are products of up to three sums over neighbours (the correlation order)."""
    features = choose("features", 4, 8, 16) if small else choose("features", 8, 16, 32)
    degree, order = choose("l_max", 1, 2), choose("correlation", 1, 2, 3)
    width = choose("radial.width", 8, 16, 32) if small else choose("radial.width", 16, 32, 64)
    net = radial(choose("radial.layers", 1, 2), width, constants["dtype"])

    def layer(i: int, last: bool = False) -> Description:
        return Interaction(features, degree, "natural", net, order, last)

    return Potential(**constants, r_max=choose("r_max", *cutoffs), basis=BASIS, l_max=degree, features=features,
                     layers=[repeat(choose("layers", 1, 2) - 1, layer), layer(0, last=True)])


def layers(constants: Mapping[str, Any], cutoffs: tuple[float, ...], small: bool = False) -> Description:
    """Three layers (two where `small`) at one cutoff, the correlation order and the radial net of each its own choice:
    what a mixture decides part by part."""
    features, depth = (8, 2) if small else (16, 3)

    def layer(i: int, last: bool = False) -> Description:
        name = f"layer{i + 1}"
        nets = {f"{kind}{number}": radial(number, 32, constants["dtype"], kind)
                for kind in ("silu", "tanh") for number in (1, 2)}
        order = choose(f"{name}.correlation", 1, 2)
        return Interaction(features, 1, "natural", choose(f"{name}.radial", **nets), order, last)

    return Potential(**constants, r_max=cutoffs[-1], basis=BASIS, l_max=1, features=features,
                     layers=[*(layer(i) for i in range(depth - 1)), layer(depth - 1, last=True)])
