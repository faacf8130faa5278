"""A plan file answered: its pathway, what may be said of it, how sure that is, and the files that show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archfab.core import UsageError
from archfab.silicon.files import save, write
from archfab.silicon.netzero.document import as_csv, deployments, document
from archfab.silicon.netzero.fields import share
from archfab.silicon.netzero.greedy import greedy
from archfab.silicon.netzero.pathway import Pathway, cheapest
from archfab.silicon.netzero.plan import Plan
from archfab.silicon.netzero.reading import read_plan
from archfab.silicon.netzero.shortfall import shortfall
from archfab.silicon.netzero.uncertainty import Tell, reliability, robust, silent


@dataclass(frozen=True)
class Answer:
    """A pathway and its document."""

    pathway: Pathway
    document: dict[str, Any]

    @property
    def title(self) -> str:
        """The picture's: what may be said of the pathway, shortly."""
        plan, verdict = self.pathway.plan, self.document["claim"]
        said = "net zero" if verdict["net_zero"] else "not net zero"
        aim = "" if plan.net_zero_year is None else f": {said} in {verdict['year']}"
        return plan.name + aim + ("" if self.document["feasible"] else " (out of reach; the nearest pathway)")

    def written(self, files: Mapping[str, Path]) -> dict[str, Any]:
        """Writes the files that were asked for; the document names them."""
        from archfab.silicon.netzero.pictures import abatement_curve, wedges
        made = {**self.document, "files": [str(path) for path in files.values()]}
        curve = made["curve"]
        for name, path in files.items():
            what = name.split(":")[0]
            if what == "pathway.png":
                save(wedges(self.pathway, curve["account"], made["uncertainty"]["bands"], self.title), path)
            elif what == "curve.png":
                save(abatement_curve(self.pathway, curve["account"], curve["year"]), path)
            elif what == "ledger.csv":
                write(path, as_csv(made["ledger"]))
            elif what == "measures.csv":
                write(path, as_csv(deployments(self.pathway)))
            else:
                write(path, json.dumps(made, indent=1))
        return made


def answer(path: str | Path, confidence: float | None = None, naive: bool = False, year: int | None = None,
           account: str | None = None, draws: int = 4000, seed: int = 0, seconds: float | None = None,
           tell: Tell = silent) -> Answer:
    """The cheapest pathway of a plan file, or the nearest one where its target is out of reach; `tell` hears what is
    being done."""
    plan = read_plan(path)
    year = plan.last_year if year is None else year
    if not plan.first_year <= year <= plan.last_year:
        raise UsageError(f"--year is {year}; the plan has the years {plan.first_year} to {plan.last_year}")
    if not 100 <= draws <= 100_000:
        raise UsageError(f"--draws is {draws}; between 100 and 100,000 baselines can be drawn")
    if seed < 0:
        raise UsageError(f"--seed is {seed}; a seed is 0 or more")
    if seconds is not None and not seconds > 0:
        raise UsageError(f"--seconds is {seconds:g}; give a time above 0")
    account = account or ("location" if plan.scope2 == "location" else "market")
    tell(f"looking for the cheapest pathway of {len(plan.measures)} measures over {len(plan.years)} years")
    pathway = cheapest(plan, seconds)
    tell("drawing baselines" if pathway else "out of reach: looking for the nearest pathway and for what binds")
    missed = None if pathway else shortfall(plan, seconds)
    plain_cost = pathway.cost if pathway else None
    more: dict[str, Any] = {}
    if confidence is not None:
        confidence = share("--confidence", confidence, 0.5, 0.999)
        more["robust"] = held = {"confidence": confidence, "met": False, "reached": 0.0, "cost_without": plain_cost}
        if pathway:
            found = robust(plan, confidence, seed, draws, seconds, tell)
            pathway = found.pathway or pathway
            held |= {"met": found.pathway is not None, "reached": found.reached}
    if naive:
        tell("comparing with the naive plan")
        more["greedy"] = compared(plan)
    shown = pathway or missed.nearest       # type: ignore[union-attr]
    return Answer(shown, {**document(shown, year, account, missed, reliability(shown, seed, draws)), **more})


def compared(plan: Plan) -> dict[str, Any]:
    """What the naive plan costs."""
    found = greedy(plan)
    return {"measures": list(found.measures), "cost": found.pathway.cost if found.pathway else None,
            "cost_well_timed": found.timed.cost if found.timed else None, "overspent": found.overspent}
