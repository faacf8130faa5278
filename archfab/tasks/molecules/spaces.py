"""Spaces for interatomic potentials: NequIP, and layers of many-body products as MACE has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archfab import nn
from archfab.space import choose, repeat
from archfab.space.descriptions import Description
from archfab.tasks.molecules.interaction import Interaction
from archfab.tasks.molecules.parts import part
from archfab.tasks.molecules.potential import Potential


def radial(name: str, layers: Any, width: Any, dtype: str, activation: str = "silu") -> Description:
    """The net from the radial basis to what a convolution's filters are linear in."""
    layer = nn.Sequential(part("Dense", width, dtype), part("Activation", activation))
    return nn.Sequential(repeat(layers, lambda i: layer))


def nequip(constants: Mapping[str, Any], cutoffs: tuple[float, ...], l_max: tuple[int, ...] = (0, 1, 2)) -> Description:
    """NequIP: cutoff, layers, degree, channels, parity and radial net are decided."""
    dtype = constants["dtype"]
    features, degree = choose("features", 8, 16, 32), choose("l_max", *l_max)
    parity = choose("parity", "natural", "both")
    net = radial("radial", choose("radial.layers", 1, 2), choose("radial.width", 16, 32, 64), dtype)

    def layer(i: int, last: bool = False) -> Description:
        return Interaction(features, degree, parity, net, 1, last)

    return Potential(**constants, r_max=choose("r_max", *cutoffs), basis=choose("basis", 6, 8, 10), l_max=degree,
                     features=features, layers=[repeat(choose("layers", 2, 3, 4) - 1, layer), layer(0, last=True)])
