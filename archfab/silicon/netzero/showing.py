"""A plan's answer as a person wants to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archfab.silicon.words import Document

FEW = 14        # rows of a ledger that are shown


def show(found: Document) -> None:
    """The verdict first, then milestones, ledger, measures, and how sure it is."""
    from archfab.terminal import say, show_table
    if "template" in found:
        say(f"wrote {found['template']}" if found["written"] else found["template"].rstrip("\n"))
        return
    money = found["currency"]
    if found["feasible"]:
        say(f"{found['name']}: the cheapest pathway costs {found['cost']:,.0f} {money}, discounted to "
            f"{found['first_year']}")
    else:
        for sentence in out_of_reach(found):
            say(sentence)
    for sentence in found["claim"]["says"]:
        say(sentence)
    say()
    show_table(["milestone", "year", "scope 2", "allowed t", "emitted t", f"{money} for one tonne less", "chance",
                "of allowed, 95 %"],
               milestones(found))
    say()
    show_table(["year", "doing nothing t", "location-based t", "market-based t", "removed t", f"capital {money}",
                f"running {money}"],
               [[row["year"], *(f"{row[key]:,.0f}" for key in ("do_nothing_location_t", "emitted_location_t",
                                                                "emitted_market_t", "durable_removals_t", "capital",
                                                                "running"))] for row in thinned(found["ledger"])])
    say()
    used = sorted((each for each in found["measures"] if each["first_year"]),
                  key=lambda each: (each["first_year"], each["name"]))
    show_table(["measure", "from", "deployed at the end", "location-based t then", "market-based t then",
                f"{money}/t alone"],
               [[each["name"], each["first_year"], f"{each['deployed_at_the_end']:.0%}",
                 *(f"{each['abated_t_at_the_end'][account]:,.0f}" for account in ("location", "market")),
                 "" if each["cost_per_t_alone"] is None else f"{each['cost_per_t_alone']:,.0f}"] for each in used])
    if left_out := [each["name"] for each in found["measures"] if not each["first_year"]]:
        say(f"not used: {', '.join(left_out)}")
    for sentence in trust(found):
        say(sentence)
    for path in found["files"]:
        say(f"wrote {path}")


def thinned(rows: Sequence[Any]) -> list[Any]:
    """Not more rows than a person reads, the first and last among them."""
    if len(rows) <= FEW:
        return list(rows)
    step = -(-(len(rows) - 1) // (FEW - 1))
    return [row for i, row in enumerate(rows) if i % step == 0 or i == len(rows) - 1]


def milestones(found: Document) -> list[list[Any]]:
    """Each milestone in its first year (--json has the others in which it is kept)."""
    chances = {(each["milestone"], each["account"]): each for each in found["uncertainty"]["milestones"]}
    rows: dict[tuple[str, str], Any] = {}
    for cap in found["milestones"]:
        rows.setdefault((cap["milestone"], cap["account"]), cap)
    listed = []
    for key, cap in rows.items():
        price, chance = cap["marginal_cost_per_t"], chances[key]
        listed.append([cap["milestone"], cap["year"] or "all", cap["account"], f"{cap['cap_t']:,.0f}",
                       f"{cap['emitted_t']:,.0f}", "" if price is None else f"{price:,.0f}",
                       f"{chance['probability']:.0%} ({chance['low']:.0%}-{chance['high']:.0%})",
                       "" if cap["cap_t"] == 0 else "{low:.0%} to {high:.0%}".format(**chance["of_allowed"])])
    return listed if len(listed) <= 24 else thinned(listed)


def out_of_reach(found: Document) -> list[str]:
    """By how much, in which year, for which limit, and what could be reached."""
    short: Mapping[str, Any] = found["shortfall"]
    said = [f"{found['name']}: out of reach; all limits kept, {short['missed_t']:,.0f} t are too many, "
            "summed over milestones, years and figures of scope 2"]
    for each in short["missed"][:4]:
        said.append(f"  {each['milestone']} ({each['account']}-based): {each['emitted_t']:,.0f} t "
                    f"{'over all years' if each['year'] is None else 'in ' + str(each['year'])}, "
                    f"{each['missed_by_t']:,.0f} t above the {each['cap_t']:,.0f} t allowed")
    if len(short["missed"]) > 4:
        said.append(f"  and {len(short['missed']) - 4} more caps and years (--json lists them)")
    for year, lacking in list(short["removals_short_t"].items())[:3]:
        said.append(f"  durable removals are {lacking:,.0f} t short in {year}")
    for each in short["reachable"][:4]:
        if each["greatest_cut"] is None:
            said.append(f"  at least {each['least_t']:,.0f} t are emitted over all years ({each['account']}-based)")
        elif each["least_t"] > 1.0001 * each["asked_t"]:
            said.append(f"  at most a cut of {each['greatest_cut']:.1%} ({each['least_t']:,.0f} t) can be reached in "
                        f"{each['year']} ({each['account']}-based); {each['asked_cut']:.1%} is asked for")
        else:
            said.append(f"  {each['milestone']} ({each['account']}-based) could be reached alone, at the price of "
                        "others")
    names = {"spending": "the limit on spending binds", "ramps": "the ramps bind",
             "starts": "earliest starts and lead times bind", "removals": "the supply of durable removals binds"}
    for name in short["binds"]:
        left = short["missed_t_without"].get(name, short["missed_t_without"]["all of these"])
        said.append(f"  the potential of all measures together binds: with every other limit lifted, {left:,.0f} t "
                    "of that sum would be left" if name == "potential" else
                    f"  {names[name]}: without, {left:,.0f} t of that sum would be left")
    if not short["binds"]:
        said.append("  no limit binds alone: it takes several of them to be lifted together")
    if short["extra_spending"] is not None:
        years = ", ".join(f"{year}: {value:,.0f}" for year, value in list(short["extra_spending"].items())[:6])
        said.append(f"  with {sum(short['extra_spending'].values()):,.0f} {found['currency']} more to spend it would "
                    f"be in reach ({years})")
    said.append(f"  the nearest pathway costs {found['cost']:,.0f} {found['currency']}, discounted; it is what follows")
    return said


def trust(found: Document) -> list[str]:
    """How sure it is that the milestones are met, and how a naive plan compares."""
    together = found["uncertainty"]["all"]
    said = [f"all milestones together are met with a probability of {together['probability']:.1%} "
            f"({together['low']:.1%}-{together['high']:.1%}, {found['uncertainty']['draws']:,} baselines drawn)"]
    last = found["ledger"][-1]
    if last["by_chance_location_t"] - last["emitted_location_t"] > 0.001 * last["do_nothing_location_t"]:
        said.append("measures are put where they do not overlap; if they met by chance, "
                    f"{last['by_chance_location_t']:,.0f} t would be left in {last['year']}")
    if "robust" in found:
        held = found["robust"]
        if held["met"] and held["cost_without"] is not None:
            said.append(f"with a confidence of {held['confidence']:.0%} it costs "
                        f"{found['cost'] - held['cost_without']:,.0f} {found['currency']} more than without")
        else:
            said.append("no pathway was found that meets all milestones with a confidence of "
                        f"{held['confidence']:.0%}; {held['reached']:.1%} was the most")
    if "greedy" in found:
        naive = found["greedy"]
        said.append("the naive plan, cheapest tonne first, does not keep the milestones with all measures"
                    if naive["cost"] is None else
                    f"the naive plan, cheapest tonne first and as fast as can be, costs {naive['cost']:,.0f} "
                    f"{found['currency']}; its measures well timed {naive['cost_well_timed']:,.0f}")
    return said
