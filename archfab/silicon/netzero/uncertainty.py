"""How far a pathway can be trusted: baselines drawn at random, the chance that milestones are met, and a plan that
holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from archfab.metrics.classification import proportion
from archfab.silicon.netzero.pathway import Pathway, cheapest
from archfab.silicon.netzero.plan import ACCOUNTS, Plan

DRAWS = 4000
ROUNDS = 10
CLOSE = 0.015       # so much more than was asked for is near enough

Tell = Callable[[str], None]


def silent(text: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Draws:
    """Baselines drawn at random: tonnes of the base year (draws by sources) and of each year (draws by sources by
    years)."""

    base: Mapping[str, np.ndarray]
    baseline: Mapping[str, np.ndarray]


def draw(plan: Plan, seed: int = 0, number: int = DRAWS) -> Draws:
    """Baselines as they may be. A base year's figure is lognormal, the one given its mean and `uncertainty` 1.96 of its
    standard deviations, as in an inventory (IPCC Guidelines: half of a 95 % interval). Growth is normal on either side
    of the one given, out to growth_low and growth_high (95 %). Sources err together by `correlation` (one common
    normal factor), base years and growths apart."""
    rng = np.random.default_rng(seed)
    count = len(plan.sources)

    def normal() -> np.ndarray:
        common, own = rng.standard_normal((number, 1)), rng.standard_normal((number, count))
        return math.sqrt(plan.correlation) * common + math.sqrt(1 - plan.correlation) * own

    spread = np.sqrt(np.log1p([(each.uncertainty / 1.96) ** 2 for each in plan.sources]))
    factor = np.exp(normal() * spread - spread ** 2 / 2)
    z = normal()
    growth = np.array([each.growth for each in plan.sources])
    above = np.array([each.growth_high for each in plan.sources]) - growth
    below = growth - np.array([each.growth_low for each in plan.sources])
    growth = growth + z / 1.96 * np.where(z > 0, above, below)
    drift = np.maximum(0.0, 1.0 + growth) * (1.0 + np.array([each.intensity for each in plan.sources]))
    base = {account: factor * np.array([each.market_t if account == "market" else each.t for each in plan.sources])
            for account in ACCOUNTS}
    return Draws(base, {account: base[account][:, :, None] * drift[:, :, None] ** plan.since_base
                        for account in ACCOUNTS})


def emitted(pathway: Pathway, draws: Draws, account: str) -> np.ndarray:
    """What is emitted if the same shares are deployed (and the same tonnes taken, as far as there are any) on baselines
    that were drawn: draws by sources by years."""
    plan, planned = pathway.plan, pathway.baseline[account]
    tonnes = np.zeros_like(planned)
    for amounts in pathway.taken[account]:
        for name, amount in amounts.items():
            tonnes[next(i for i, each in enumerate(plan.sources) if each.name == name)] += amount
    kept = np.divide(pathway.emitted[account] + tonnes, planned, out=np.zeros_like(planned), where=planned > 0)
    return np.maximum(0.0, draws.baseline[account] * kept - tonnes)


def ratios(pathway: Pathway, draws: Draws) -> list[tuple[dict[str, Any], np.ndarray]]:
    """For each cap, what is emitted as a share of what is allowed, by draw. A cut counts from the base year that was
    drawn."""
    plan = pathway.plan
    totals = {account: emitted(pathway, draws, account) for account in plan.binding}
    cuts = {each.name: each.cut for each in plan.milestones}
    found = []
    for cap in pathway.caps:
        rows = [i for i, each in enumerate(plan.sources) if each.scope in cap["scopes"]]
        under = totals[cap["account"]][:, rows].sum(axis=1)
        emits = under.sum(axis=1) if cap["year"] is None else under[:, cap["year"] - plan.first_year]
        cut = cuts.get(cap["milestone"])
        allowed = np.full(len(emits), asked_t(plan, cap)) if cut is None else \
            (1.0 - cut) * draws.base[cap["account"]][:, rows].sum(axis=1)
        exact = np.where(emits <= 1e-9 * plan.base_t(cap["account"]), 0.0, np.inf)
        found.append((dict(cap), np.divide(emits, allowed, out=exact, where=allowed > 0)))
    return found


def asked_t(plan: Plan, cap: Mapping[str, Any]) -> float:
    """The cap as the plan asks for it, whatever the programme was given."""
    if cap["year"] is None:
        assert plan.cumulative_t is not None
        return plan.cumulative_t
    return plan.cap_t(next(each for each in plan.milestones if each.name == cap["milestone"]), cap["account"])


def reliability(pathway: Pathway, seed: int = 0, number: int = DRAWS) -> dict[str, Any]:
    """The chance that each milestone is met in all its years, and all of them together, with the 95 % interval
    (Wilson) that the number of draws leaves; the 95 % interval of the do-nothing line and of the pathway; the worst
    of both."""
    draws = draw(pathway.plan, seed, number)
    found = ratios(pathway, draws)
    met: dict[tuple[str, str], np.ndarray] = {}
    worst: dict[tuple[str, str], np.ndarray] = {}
    together = np.ones(number, bool)
    for cap, ratio in found:
        good = ratio <= 1.0 + 1e-6
        key = (cap["milestone"], cap["account"])
        met[key] = met.get(key, np.ones(number, bool)) & good
        worst[key] = np.maximum(worst.get(key, ratio), ratio)
        together &= good
    bands = {}
    for account in ACCOUNTS:
        for name, lines in (("do_nothing", draws.baseline[account]), ("pathway", emitted(pathway, draws, account))):
            low, high = np.quantile(lines.sum(axis=1), [0.025, 0.975], axis=0)
            bands[f"{name}_{account}"] = {"low": low.tolist(), "high": high.tolist()}
    milestones = []
    for (name, account), good in met.items():
        low, high = np.quantile(np.minimum(worst[name, account], 1e6), [0.025, 0.975])
        milestones.append({"milestone": name, "account": account, **chance(good),
                           "of_allowed": {"low": float(low), "high": float(high)}})
    return {"draws": number, "seed": seed, "all": chance(together), "milestones": milestones, "bands": bands}


def chance(met: np.ndarray) -> dict[str, float]:
    """The share of draws in which something holds, and Wilson's 95 % interval of it."""
    found = proportion(float(met.mean()), len(met))
    return {"probability": float(found), "low": found.low, "high": found.high}


@dataclass(frozen=True)
class Robust:
    """A pathway that meets all milestones together with a probability; `pathway` is None where none was found, and
    `reached` is then the highest probability that was."""

    pathway: Pathway | None
    confidence: float
    reached: float


def robust(plan: Plan, confidence: float, seed: int = 0, number: int = DRAWS, seconds: float | None = None,
           tell: Tell = silent) -> Robust:
    """A pathway that meets all milestones together in at least this share of the baselines drawn.

    Caps are tightened by what the quantile of emissions over allowance is above the middle, the cheapest pathway is
    found again, and so on until it holds. Each round is solved exactly; that no other set of margins would be cheaper
    is not proven.
    """
    draws = draw(plan, seed + 1, number)        # others than those that `reliability` judges by
    aim = min(1.0, confidence + 1.96 * math.sqrt(confidence * (1.0 - confidence) / number))
    level, reached = 1.0 - (1.0 - aim) / 2.0, 0.0
    caps_t: dict[tuple[str, int | None, str], float] = {}
    best: Pathway | None = None
    for n in range(ROUNDS):
        tell(f"tightening until {aim:.1%} of the baselines keep it: {reached:.1%} so far, round {n + 1} of at most "
             f"{ROUNDS}")
        pathway = cheapest(plan, seconds, caps_t=caps_t)
        if pathway is None:
            break
        found = ratios(pathway, draws)
        joint = float(np.logical_and.reduce([ratio <= 1.0 + 1e-6 for _, ratio in found]).mean())
        reached = max(reached, joint)
        if joint >= aim:
            best = pathway if best is None or pathway.cost < best.cost else best
            if joint <= aim + CLOSE or not caps_t:
                break
        if caps_t:
            level = min(1.0 - 1.0 / number, max(0.5, level + 0.7 * (aim + CLOSE / 2 - joint)))
        for cap, ratio in found:
            needed = float(np.quantile(ratio, level))
            if needed > 0 and math.isfinite(needed):
                key = (cap["milestone"], cap["year"], cap["account"])
                caps_t[key] = min(asked_t(plan, cap), cap["emitted_t"] / needed)
    return Robust(best, confidence, reached)
