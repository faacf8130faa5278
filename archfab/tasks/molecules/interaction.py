"""One layer of message passing: neighbours' features times spherical harmonics, summed, mixed, gated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from archfab.core import BuildError
from archfab.nn.blocks import make
from archfab.space.descriptions import Describer, Description
from archfab.tasks.molecules.coupling import (
    PARITIES,
    Coupling,
    Irreps,
    allowed,
    coupling,
    dimension,
    features_of,
    harmonics,
    reached,
    size,
)
from archfab.tasks.molecules.parts import SILU, TANH, part

Paths = Mapping[str, tuple[str, ...]]
VALUE = ("value",)


def Interaction(features: Any, l_max: Any, parity: Any, radial: Any, correlation: Any = 1,
                scalars: bool = False) -> Description:
    """A layer of NequIP (Batzner et al., Nature Communications 2022): a convolution with filters R(r) Y(r / |r|), a
    self-connection that hangs on the species, and a gate. Inputs: features [N, components, channels], species [N, Z],
    harmonics [E, components], radial basis [E, B], edges [2, E] from sender to receiver.

    :param features: channels of each kind of feature. :param l_max: the highest degree. :param parity: `natural`, or
        `both`: also pseudoscalars, pseudovectors, ...
    :param radial: the description of the net from the radial basis to what the filters are linear in.
    :param correlation: the most neighbours that one message tells of at once. Above 1, products of the summed features
        with themselves are summed too, up to so many factors: the atomic basis of MACE (Batatia et al., NeurIPS 2022,
        equation 10), its products taken one after the other and its weights alike for all species.
    :param scalars: whether only scalars go out, as from the last layer.
    """
    return Describer(InteractionModule, "archfab.tasks.molecules.interaction:InteractionModule")(
        features, l_max, parity, radial, correlation, scalars)


class InteractionModule(nn.Module):
    """What an `Interaction` becomes."""

    def __init__(self, convolution: nn.Module, products: nn.Module | None, down: nn.Module, kept: nn.Module,
                 gate: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution
        self.products = products
        self.down = down
        self.kept = kept
        self.gate = gate

    def forward(self, x: torch.Tensor, species: torch.Tensor, harmonics: torch.Tensor, basis: torch.Tensor,
                edges: torch.Tensor) -> torch.Tensor:
        messages = self.convolution(x, harmonics, basis, edges)
        if self.products is not None:
            messages = self.products(messages)
        told = (x[:, :, None] * species[:, None, :, None]).flatten(1, 2)
        return self.gate((self.down(messages) + self.kept(told)) * 0.5**0.5)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, features: Any, l_max: Any, parity: Any, radial: Any,
                 correlation: Any, scalars: bool) -> tuple[nn.Module, Any]:
        features, l_max, parity = (builder.decided(each) for each in (features, l_max, parity))
        correlation = builder.decided(correlation)
        check(features, l_max, parity, correlation, where)
        dtype = str(x[0].dtype).removeprefix("torch.")
        atoms, components, inputs = x[0].shape
        irreps = features_of(components, l_max, parity)
        full = reached(irreps, l_max, parity)
        out = ("0e",) if scalars else full
        summed = out if correlation == 1 else full
        convolution, paths = convolved(builder, x, where, irreps, summed, features, l_max, radial)
        products = None
        if correlation > 1:
            products, paths = multiplied(builder, (atoms, paths, full, allowed(l_max, parity), out, correlation), where,
                                         features, x[0].dtype)
        outputs: dict[str, tuple[str, ...]] = {kind: VALUE for kind in out if kind in paths}
        outputs["0e"] = ("value", *(f"gate {kind}" for kind in outputs if size(kind) > 1))
        place = f"{where}.down" if correlation == 1 else f"{where}.down.products"
        down, _ = builder.part(part("Mix", plain(paths), plain(outputs), features, features, dtype),
                               blank(x[0], atoms, width(paths), features), place)
        species = tuple(f"species {i}" for i in range(x[1].shape[1]))
        kinds = dict.fromkeys(irreps, species)
        kept, _ = builder.part(part("Mix", plain(kinds), plain(outputs), inputs, features, dtype, 1 / len(species)),
                               blank(x[0], atoms, width(kinds), inputs), f"{where}.kept")
        return InteractionModule(convolution, products, down, kept, Gate(tuple(outputs))), \
            blank(x[0], atoms, dimension(tuple(outputs)), features)


def check(features: Any, l_max: Any, parity: Any, correlation: Any, where: str) -> None:
    if not isinstance(features, int) or features < 1 or not isinstance(l_max, int) or not 0 <= l_max <= 6:
        raise BuildError(f"{where}: features is a whole number from 1 up and l_max one from 0 to 6, not {features!r} "
                         f"and {l_max!r}")
    if parity not in PARITIES or not isinstance(correlation, int) or not 1 <= correlation <= 4:
        raise BuildError(f"{where}: parity is natural or both, and correlation a whole number from 1 to 4, not "
                         f"{parity!r} and {correlation!r}")


def convolved(builder: Any, x: Any, where: str, irreps: Irreps, out: Irreps, features: int, l_max: int,
              radial: Any) -> tuple[nn.Module, Paths]:
    """The convolution, and the paths of what it sums."""
    dtype = str(x[0].dtype).removeprefix("torch.")
    kinds = dict.fromkeys(irreps, VALUE)
    each = plain(kinds)
    up, _ = builder.part(part("Mix", each, each, x[0].shape[2], features, dtype), x[0], f"{where}.up")
    table = coupling(irreps, harmonics(l_max), out)
    filters = make("Sequential", radial, part("PathWeights", plain(table.paths), features, dtype))
    weights, _ = builder.part(filters, x[3], f"{where}.radial")
    return Convolution(up, weights, table, x[0].dtype), table.paths


def multiplied(builder: Any, about: tuple[int, Paths, Irreps, Irreps, Irreps, int], where: str, features: int,
               dtype: torch.dtype) -> tuple[nn.Module, Paths]:
    """The products of the summed features, and the paths of what they give."""
    atoms, paths, base, known, out, correlation = about
    kind = str(dtype).removeprefix("torch.")
    like = torch.empty(0, dtype=dtype, device="meta")
    mixes, tables, irreps = [], [], base
    found: dict[str, tuple[str, ...]] = {k: ("1: value",) for k in base if k in out}
    for order in range(2, correlation + 1):
        each = part("Mix", plain(paths), plain(dict.fromkeys(irreps, VALUE)), features, features, kind)
        mix, _ = builder.part(each, blank(like, atoms, width(paths), features), f"{where}.order{order - 1}")
        last = order == correlation
        table = coupling(irreps, base, tuple(k for k in known if k in out) if last else known, symmetric=order == 2)
        mixes.append(mix)
        tables.append(table)
        for k, ways in table.paths.items():
            if k in out:
                found[k] = (*found.get(k, ()), *(f"{order}: {way}" for way in ways))
        paths, irreps = table.paths, tuple(table.paths)
    return Products(mixes, tables, base, out, dtype), {k: found[k] for k in known if k in found}


class Convolution(nn.Module):
    """Sums over neighbours of their features times spherical harmonics, path by path, each weighed by the distance:
    [N, components, inputs] -> [N, columns, channels]."""

    table: torch.Tensor

    def __init__(self, up: nn.Module, weights: nn.Module, table: Coupling, dtype: torch.dtype) -> None:
        super().__init__()
        self.up = up
        self.weights = weights
        self.columns = list(table.columns.values())
        self.paths = [len(ways) for ways in table.paths.values()]
        flat = torch.as_tensor(table.table.transpose(1, 2, 0).reshape(len(table.table[0]), -1)).to(dtype)
        self.inputs = len(table.table)
        self.register_buffer("table", flat, persistent=False)

    def forward(self, x: torch.Tensor, harmonics: torch.Tensor, basis: torch.Tensor,
                edges: torch.Tensor) -> torch.Tensor:
        sent = self.up(x).index_select(0, edges[0])
        filters = (harmonics @ self.table).unflatten(1, (-1, self.inputs))           # [E, columns, components of x]
        products = torch.bmm(filters, sent).split(self.columns, 1)
        weights = self.weights(basis).split(self.paths, 1)
        found = [(block.unflatten(1, (-1, weight.shape[1])) * weight[:, None]).flatten(1, 2)
                 for block, weight in zip(products, weights, strict=True)]
        messages = torch.cat(found, 1) if len(found) > 1 else found[0]
        return messages.new_zeros(x.shape[0], *messages.shape[1:]).index_add(0, edges[1], messages)


class Products(nn.Module):
    """Summed features, their products with themselves, the products of these with them, and so on, side by side:
    [N, columns, channels] -> [N, columns, channels]."""

    def __init__(self, mixes: list[nn.Module], tables: list[Coupling], base: Irreps, out: Irreps,
                 dtype: torch.dtype) -> None:
        super().__init__()
        self.mixes = nn.ModuleList(mixes)
        self.orders = [table.columns for table in tables]
        self.base = {kind: size(kind) for kind in base}
        self.out = out
        for i, table in enumerate(tables):
            flat = torch.as_tensor(table.table.transpose(2, 0, 1).reshape(table.table.shape[2], -1)).to(dtype)
            self.register_buffer(f"table{i}", flat, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: dict[str, list[torch.Tensor]] = {}
        first = y = self.mixes[0](x)
        collect(found, first, self.base, self.out)
        for i, columns in enumerate(self.orders):
            if i:
                y = self.mixes[i](y)
            pairs = (y[:, :, None] * first[:, None]).flatten(1, 2)
            y = getattr(self, f"table{i}") @ pairs
            collect(found, y, columns, self.out)
        return torch.cat([together(found[kind], size(kind)) for kind in self.out if kind in found], 1)


def collect(found: dict[str, list[torch.Tensor]], x: torch.Tensor, columns: Mapping[str, int], out: Irreps) -> None:
    """Notes the columns of each kind that goes out."""
    for kind, block in zip(columns, x.split(list(columns.values()), 1), strict=True):
        if kind in out:
            found.setdefault(kind, []).append(block)


def together(blocks: list[torch.Tensor], components: int) -> torch.Tensor:
    """Columns of one kind from several orders, each component with all its paths in a row."""
    return torch.cat([block.unflatten(1, (components, -1)) for block in blocks], 2).flatten(1, 2)


class Gate(nn.Module):
    """Scalars through silu, pseudoscalars through tanh, others times the silu of a scalar of their own (Weiler et al.,
    3D Steerable CNNs, NeurIPS 2018). The gates stand behind the scalars."""

    def __init__(self, kinds: Irreps) -> None:
        super().__init__()
        self.kinds = kinds[1:]                  # without the scalars, which come first
        self.gates = 1 + sum(size(kind) > 1 for kind in kinds)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        even, *others = x.split([self.gates, *map(size, self.kinds)], 1)
        scalars, *gates = (torch.nn.functional.silu(even) * SILU).split(1, 1)
        opened = iter(gates)
        found = [torch.tanh(block) * TANH if kind == "0o" else block * next(opened)
                 for kind, block in zip(self.kinds, others, strict=True)]
        return torch.cat([scalars, *found], 1) if found else scalars


def width(paths: Mapping[str, Any]) -> int:
    """Columns of features with so many paths."""
    return sum(size(kind) * len(ways) for kind, ways in paths.items())


def plain(paths: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {kind: list(ways) for kind, ways in paths.items()}


def blank(like: torch.Tensor, *shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=like.dtype, device="meta")
