"""The models of ageing by name."""

from __future__ import annotations

from archfab.core import unknown
from archfab.silicon.aging.hole_trapping import HoleTrapping
from archfab.silicon.aging.model import Model
from archfab.silicon.aging.power_law import PowerLaw
from archfab.silicon.aging.reaction_diffusion import ReactionDiffusion
from archfab.silicon.aging.two_component import TwoComponent

MODELS: dict[str, Model] = {model.name: model for model in (PowerLaw(), ReactionDiffusion(), TwoComponent(),
                                                            HoleTrapping())}


def model_named(name: str) -> Model:
    """:raises UsageError: there is no such model; says which there are."""
    if name not in MODELS:
        raise unknown("ageing model", name, list(MODELS))
    return MODELS[name]
