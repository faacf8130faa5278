"""The network: an energy of atoms, the forces on them as its negative gradient, and the stress of periodic cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from archfab.core import BuildError
from archfab.space.choices import Repeat
from archfab.space.descriptions import Describer, Description
from archfab.tasks.molecules.interaction import blank
from archfab.tasks.molecules.parts import part


def Potential(species: Sequence[int], energies: Sequence[float], scale: float, neighbours: Sequence[Sequence[float]],
              r_max: Any, basis: Any, l_max: Any, features: Any, layers: Any, dtype: str = "float32") -> Description:
    """An interatomic potential: inputs are numbers int64 [N], positions [N, 3], edges int64 [2, E] from sender to
    receiver, shifts [E, 3], structure int64 [N] (which one an atom belongs to) and cell [S, 3, 3] (zeros where there is
    none); outputs are energy [S] in eV, forces [N, 3] in eV/Angstrom and stress [S, 3, 3] in eV/Angstrom^3.

    The vector of an edge is positions[sender] - positions[receiver] + shift. Edges longer than `r_max` change nothing.
    The energy is the sum over atoms of `energies` of their species and of `scale` times what the layers say; atoms of
    other species make it infinite or NaN. Geometry and outputs are float64, whatever the layers compute in.

    :param species: atomic numbers. :param energies: of free atoms, or what least squares says, in eV.
    :param scale: in eV. :param neighbours: pairs of a cutoff and the mean number of neighbours within it.
    :param r_max: the cutoff in Angstrom. :param basis: Bessel functions of the distance.
    :param l_max: of the spherical harmonics. :param features: channels of the species' embedding.
    :param layers: the interactions. :param dtype: float32 or float64.
    """
    return Describer(PotentialModule, "archfab.tasks.molecules.potential:PotentialModule")(
        list(species), list(energies), scale, [list(pair) for pair in neighbours], r_max, basis, l_max, features,
        layers, dtype)


class PotentialModule(nn.Module):
    """What a `Potential` becomes."""

    species: torch.Tensor

    def __init__(self, constants: tuple[Sequence[int], Sequence[float], float, float], r_max: float, l_max: int,
                 embedding: nn.Module, basis: nn.Module, layers: Sequence[nn.Module], readout: nn.Module,
                 dtype: torch.dtype) -> None:
        super().__init__()
        species, energies, scale, neighbours = constants
        self.r_max, self.l_max, self.neighbours, self.dtype = r_max, l_max, neighbours, dtype
        self.energies, self.scale = list(energies), scale       # no buffers: they stay exact if weights are cast
        self.harmonics = spherical_harmonics(l_max)
        self.embedding = embedding
        self.basis = basis
        self.layers = nn.ModuleList(layers)
        self.readout = readout
        self.register_buffer("species", torch.tensor(species, dtype=torch.int64), persistent=False)

    def forward(self, numbers: torch.Tensor, positions: torch.Tensor, edges: torch.Tensor, shifts: torch.Tensor,
                structure: torch.Tensor, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        inputs = numbers, positions, edges, shifts, structure, cell
        if torch.is_inference_mode_enabled():       # gradients are needed inside
            with torch.inference_mode(False), torch.no_grad():
                return self(*(x.clone() for x in inputs))
        learns = torch.is_grad_enabled()
        with torch.enable_grad():
            vectors = positions.index_select(0, edges[0]) - positions.index_select(0, edges[1]) + shifts
            if not vectors.requires_grad:
                vectors.requires_grad_(True)
            atomic = self.atomic(numbers, vectors, edges)
            slopes, = torch.autograd.grad(atomic.sum(), vectors, create_graph=learns)
        if not learns:
            atomic, vectors = atomic.detach(), vectors.detach()
        energy = atomic.new_zeros(cell.shape[0]).index_add(0, structure, atomic)
        forces = torch.zeros_like(positions).index_add(0, edges[1], slopes).index_add(0, edges[0], -slopes)
        return energy, forces, self.stress(vectors, slopes, structure.index_select(0, edges[1]), cell)

    def atomic(self, numbers: torch.Tensor, vectors: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        """The energy of each atom in eV."""
        matches = torch.eq(numbers[:, None], self.species).double()
        species = matches.to(self.dtype)
        short = vectors.to(self.dtype)
        length = torch.linalg.vector_norm(short, dim=1)
        turned = self.harmonics(short / length[:, None]) / self.neighbours**0.5
        basis, x = self.basis(length), self.embedding(species)
        for layer in self.layers:
            x = layer(x, species, turned, basis, edges)
        told = self.readout(x[:, 0]).squeeze(1).double()
        free = matches @ torch.tensor(self.energies, dtype=torch.float64, device=matches.device)
        return (told * self.scale + free) / matches.sum(1)

    @staticmethod
    def stress(vectors: torch.Tensor, slopes: torch.Tensor, structure: torch.Tensor,
               cell: torch.Tensor) -> torch.Tensor:
        """The energy's derivative by a symmetric strain of all vectors, by volume; zeros without a volume."""
        pairs = vectors[:, :, None] * slopes[:, None]
        strained = torch.zeros_like(cell).index_add(0, structure, (pairs + pairs.transpose(1, 2)) / 2)
        volume = (cell[:, 0] * torch.linalg.cross(cell[:, 1], cell[:, 2])).sum(1).abs()[:, None, None]
        return torch.where(volume > 0, strained / torch.where(volume > 0, volume, 1.0), 0.0)

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, species: Sequence[int], energies: Sequence[float], scale: float,
                 neighbours: Sequence[Sequence[float]], r_max: Any, basis: Any, l_max: Any, features: Any, layers: Any,
                 dtype: str) -> tuple[nn.Module, Any]:
        if not isinstance(x, tuple) or len(x) != 6:
            raise BuildError(f"{where} takes numbers, positions, edges, shifts, structure and cell")
        r_max, basis, l_max, features = (builder.decided(each) for each in (r_max, basis, l_max, features))
        if not isinstance(r_max, int | float) or not r_max > 0:
            raise BuildError(f"{where}: r_max is a length above 0, not {r_max!r}")
        atoms, pairs, like = len(x[0]), x[2].shape[1], torch.empty(0, dtype=getattr(torch, dtype), device="meta")
        told = blank(like, atoms, len(species))
        embedding, y = builder.part(part("Embedding", len(species), features, dtype), told, f"{where}.embedding")
        bessel, waves = builder.part(part("Bessel", float(r_max), basis, dtype), blank(like, pairs), f"{where}.basis")
        turned, modules = blank(like, pairs, (l_max + 1) ** 2), []
        for place, item in laid(builder, layers, f"{where}.layers"):
            module, y = builder.part(item, (y, told, turned, waves, x[2]), place)
            modules.append(module)
        readout, _ = builder.part(part("Dense", 1, dtype), blank(like, atoms, y.shape[2]), f"{where}.readout")
        mean = float(np.interp(r_max, *np.transpose(neighbours))) or 1.0
        constants = species, energies, scale, mean
        made = PotentialModule(constants, float(r_max), l_max, embedding, bessel, modules, readout, like.dtype)
        structures = len(x[5])
        return made, tuple(torch.empty(shape, dtype=torch.float64, device="meta")
                           for shape in ((structures,), (atoms, 3), (structures, 3, 3)))


def laid(builder: Any, layers: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The layers with their places, repeats laid out to their decided number; a choice among layers stays."""
    for i, item in enumerate(layers if isinstance(layers, list | tuple) else [layers]):
        if isinstance(item, Repeat):
            yield from ((f"{where}[{i}][{j}]", each) for j, each in enumerate(item.items[:builder.decided(item.count)]))
        else:
            yield f"{where}[{i}]", item


def spherical_harmonics(l_max: int) -> nn.Module:
    """Those of all degrees up to one, of unit vectors; the mean of their squares is 1."""
    from e3nn import o3
    with eager():
        return o3.SphericalHarmonics(list(range(l_max + 1)), normalize=False, normalization="component")


@contextmanager
def eager() -> Iterator[None]:
    """What e3nn makes inside runs as plain torch: scripted code can be neither recorded nor exported."""
    import e3nn
    before = e3nn.get_optimization_defaults()["jit_mode"]
    e3nn.set_optimization_defaults(jit_mode="eager")
    try:
        yield
    finally:
        e3nn.set_optimization_defaults(jit_mode=before)
