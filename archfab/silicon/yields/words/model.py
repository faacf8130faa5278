"""The word `yield`: the share of good dies by one model, or by all of them."""

from __future__ import annotations

import argparse
from typing import Any

from archfab.core import UsageError
from archfab.silicon.words import Document, Word
from archfab.silicon.yields.words.options import (
    Defects,
    add_density,
    add_die,
    add_png,
    area_of,
    defects_of,
    draw,
    tell_sources,
    warn,
)

SHAPES = (0.5, 1.0, 2.0, 3.0)       # of negative binomials in a table of all models, where no alpha is given


def add(word: Word) -> None:
    """The word and its options."""
    one = word("yield", "the share of dies without a killing defect",
               "archfab silicon yield --model negative-binomial --d0 0.1 --alpha 2 --area-mm2 100", carry_out, shown)
    add_die(one)
    add_density(one)
    one.add_argument("--models", metavar="all|NAME,NAME", help="several models side by side, instead of --model")
    one.add_argument("--observed-yield", type=float, metavar="SHARE", help="instead of --d0: which density it means")
    one.add_argument("--systematic-yield", type=float, default=1.0, metavar="SHARE", help="of dies that no systematic "
                     "failure hits: a factor (default: 1)")
    add_png(one, "yield over area")


def carry_out(asked: argparse.Namespace) -> Document:
    """Yields, or the density that a yield means."""
    from archfab.silicon.yields.checks import doubts, share
    area, _, _ = area_of(asked)
    share("a systematic yield", asked.systematic_yield)
    if asked.observed_yield is not None:
        return _density(asked, area)
    chosen = _chosen(asked)
    rows = [_row(each, area, asked.systematic_yield) for each in chosen]
    warnings = [*dict.fromkeys(note for each in chosen for note in each.notes), *doubts(area_mm2=area)]
    draw(asked.png, lambda: _figure(chosen, area, asked.systematic_yield))
    shared = {"area_mm2": area, "systematic_yield": asked.systematic_yield, "warnings": warnings}
    if asked.models is None:
        return {**rows[0], **shared}
    skipped = [] if asked.layers is not None or asked.models != "all" else [
        "bose-einstein needs the number of critical layers (--layers N)"]
    return {"models": rows, "skipped": skipped, **shared}


def _density(asked: argparse.Namespace, area: float) -> dict[str, Any]:
    from archfab.silicon.yields.models import d0_of_yield
    if asked.d0 is not None or asked.models or asked.png or asked.d0_interval or asked.node:
        raise UsageError("--observed-yield asks for the density of one model; leave out --d0, --d0-interval, --node, "
                         "--models and --png")
    if asked.observed_yield > asked.systematic_yield:
        raise UsageError(f"a yield of {asked.observed_yield:g} is more than the systematic one, "
                         f"{asked.systematic_yield:g}")
    asked.d0 = d0_of_yield(asked.observed_yield / asked.systematic_yield, area, asked.model, asked.alpha, asked.layers)
    found = defects_of(asked)
    return {**_row(found, area, asked.systematic_yield), "area_mm2": area, "systematic_yield": asked.systematic_yield,
            "warnings": list(found.notes)}


def _chosen(asked: argparse.Namespace) -> list[Defects]:
    if asked.models is None:
        return [defects_of(asked)]
    from archfab.silicon.yields.models import MODELS
    names = list(MODELS) if asked.models == "all" else [name.strip() for name in asked.models.split(",")]
    if asked.models == "all" and asked.layers is None:
        names.remove("bose-einstein")
    if asked.model != "negative-binomial":
        raise UsageError("--model is for one model and --models for several; leave out one of them")
    for name, value, owner in (("alpha", asked.alpha, "negative-binomial"), ("layers", asked.layers, "bose-einstein")):
        if value is not None and owner not in names:
            raise UsageError(f"--{name} is of the model '{owner}', which is not among --models {asked.models}")
    found = []
    for name in names:
        shapes = ([asked.alpha] if asked.alpha is not None else SHAPES) if name == "negative-binomial" else [None]
        found += [defects_of(argparse.Namespace(**{**vars(asked), "model": name, "alpha": alpha, "layers":
                                                   asked.layers if name == "bose-einstein" else None}))
                  for alpha in shapes]
    return found


def _row(each: Defects, area: float, systematic: float) -> dict[str, Any]:
    low, high = (each.good(area, each.ends[1]) * systematic, each.good(area, each.ends[0]) * systematic
                 ) if each.ends else (None, None)
    return {"yield": each.good(area) * systematic, "low": low, "high": high, **each.plain(),
            "defects_per_die": each.d0 * area / 100 * (each.layers or 1)}


def label(each: Defects) -> str:
    """A model with its parameter."""
    if each.alpha is not None:
        return f"{each.model}, alpha {each.alpha:g}"
    return f"{each.model}, {each.layers:g} layers" if each.layers is not None else each.model


def _figure(chosen: list[Defects], area: float, systematic: float) -> Any:
    import numpy as np

    from archfab.silicon.yields.pictures import yield_curves
    areas = np.linspace(0, max(2 * area, 1e-6), 201)
    curves = {label(each): each.good(areas) * systematic for each in chosen}
    band = None
    if len(chosen) == 1 and (ends := chosen[0].ends):
        band = chosen[0].good(areas, ends[1]) * systematic, chosen[0].good(areas, ends[0]) * systematic
    title = f"D0 = {chosen[0].d0:g} per cm2"
    return yield_curves(areas, curves, area, band, title)


def shown(document: Document) -> None:
    """One sentence, or a table of models."""
    from archfab.terminal import say, show_table
    if "models" not in document:
        ends = ""
        if document["low"] is not None:
            ends = f" (from {100 * document['low']:.2f} % to {100 * document['high']:.2f} %)"
        say(f"{100 * document['yield']:.2f} % of dies are good{ends}: {document['model']}, "
            f"D0 {document['d0_per_cm2']:.4g} per cm2, {document['area_mm2']:.6g} mm2, "
            f"{document['defects_per_die']:.4g} killing defects a die")
    else:
        more = ["low %", "high %"] if document["models"][0]["low"] is not None else []
        show_table(["model", "alpha", "layers", "yield %", *more],
                   [[row["model"], row["alpha"], row["layers"], f"{100 * row['yield']:.2f}",
                     *([f"{100 * row['low']:.2f}", f"{100 * row['high']:.2f}"] if more else [])]
                    for row in document["models"]],
                   f"D0 {document['models'][0]['d0_per_cm2']:.4g} per cm2, {document['area_mm2']:.6g} mm2")
        for sentence in document["skipped"]:
            say(f"left out: {sentence}")
    tell_sources(document["models"][0] if "models" in document else document)
    warn(document)
