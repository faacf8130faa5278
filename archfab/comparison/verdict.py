"""What a comparison says in sentences, and what it does not say: differences that could be chance are named so."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from archfab.comparison.significance import EQUAL, LEVEL, TABLES, fewest_runs

Doc = Mapping[str, Any]
MOST = 8                # names in a sentence; the tables have all of them


def ranked(table: Doc) -> list[Doc]:
    """The strategies that measured something, the least mean regret at the end first."""
    return sorted((row for row in table["strategies"] if row["curve"]), key=lambda row: row["budgets"][-1]["mean"])


def against(table: Doc, one: str, other: str) -> Doc | None:
    """The test of two strategies on a table."""
    return next((pair for pair in table["pairs"] if {pair["one"], pair["other"]} == {one, other}), None)


def table_verdict(table: Doc) -> str:
    """What can be said of a table's strategies: which are ahead, and which found nothing in some of their runs."""
    counted = {row["strategy"] for row in ranked(table)}
    empty = [f"{row['strategy']}: {emptiness(row)}"
             f"{'; such a run counts as the worst of the table' if row['strategy'] in counted else ''}."
             for row in table["strategies"] if row["empty"]]
    return " ".join([ahead(table), *empty])


def emptiness(row: Doc) -> str:
    """In how many of its runs a strategy measured nothing, and why."""
    reasons = Counter(why for why, steps in zip(row["ended"], row["evaluated"], strict=True) if why and not steps)
    why = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
    return f"{row['empty']} of {row['runs']} runs found no architecture of the table{why}" if row["empty"] else ""


def tied(rows: Sequence[Doc]) -> list[Doc]:
    """The strategies that share the least mean regret."""
    means = [row["budgets"][-1]["mean"] for row in rows]
    return [row for row, mean in zip(rows, means, strict=True) if math.isclose(mean, means[0], abs_tol=EQUAL)]


def ahead(table: Doc) -> str:
    """Which strategies are ahead on a table, and from which others they can be told apart."""
    rows = ranked(table)
    if not rows:
        what = "measured anything" if any(row["runs"] for row in table["strategies"]) else "came to its end"
        return f"{table['label']}: NO run {what}, so nothing can be said."
    leaders = [row["strategy"] for row in tied(rows)]
    end = rows[0]["budgets"][-1]
    figures = (f"mean {table['measure']} {end['value']:.5g} where {table['best']:.5g} is possible (regret "
               f"{end['mean']:.3g}, 95 % {end['low']:.3g} to {end['high']:.3g}, {rows[0]['runs']} runs)")
    where = f"{table['label']}, after {end['at']:g} evaluations: "
    if len(rows) == 1:
        return f"{where}{leaders[0]} reaches a {figures}; there is no other strategy to compare it with."
    if len(leaders) == 1:
        first = f"{where}{leaders[0]} has the least mean regret, a {figures}"
    elif end["mean"] <= EQUAL:
        several = "both" if len(leaders) == 2 else "all"
        first = (f"{where}{listed(leaders, len(leaders))} {several} reach the best there is, {table['measure']} "
                 f"{table['best']:.5g}, in each of their runs")
    else:
        first = f"{where}{listed(leaders, len(leaders))} tie, with a {figures}"
    fewest = fewest_runs(len(rows))
    if len(leaders) < len(rows) and min(pair["runs"] for pair in table["pairs"]) < fewest:
        return (f"{first}; NO difference can be called significant with so few runs: {len(rows)} strategies need "
                f"{fewest} or more each.")
    worse, odd, alike = apart(table, leaders, [row["strategy"] for row in rows])
    if len(leaders) == 1 and not alike and not odd:
        return f"{where}{leaders[0]} is the best, with a {figures}; significantly better than {listed(worse)}."
    said = [first]
    if alike:
        said.append(f"not significantly different from {listed(alike)}")
    if odd:
        said.append(f"{listed(odd)} {'is' if len(odd) == 1 else 'are'} better in more of the runs, though not on the "
                    "mean")
    if worse:
        said.append(f"significantly better than {listed(worse)}")
    return "; ".join(said) + "."


def apart(table: Doc, leaders: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Those that every leader is significantly better than, those that are better than a leader, and the rest."""
    worse: list[str] = []
    odd: list[str] = []
    alike: list[str] = []
    for name in names:
        tests = [against(table, name, leader) for leader in leaders if leader != name]
        better = [test["better"] for test in tests if test and test["significant"]]
        if name in better:
            odd.append(name)
        elif name not in leaders:
            (worse if len(better) == len(leaders) else alike).append(name)
    return worse, odd, alike


def ranks_verdict(ranks: Doc, tables: int) -> str:
    """Whether strategies differ over the tables, at the last budget."""
    end = ranks["budgets"][-1]
    order = sorted(end["mean"], key=end["mean"].get)
    names = listed([f"{name} {end['mean'][name]:.2f}" for name in order])
    if tables < TABLES:
        return "" if tables == 1 else (f"Mean ranks over {tables} tables: {names}; too few tables for a test "
                                       f"({TABLES} or more).")
    test = end["friedman"]
    figures = f"Friedman chi2 = {test['chi2']:.3g}, p {'' if test['p'] < 0.001 else '= '}{p_value(test['p'])}"
    if test["p"] >= LEVEL:
        few = math.factorial(len(order)) ** (tables - 1) < 1 / LEVEL
        return (f"Mean ranks over {tables} tables: {names}; the ranks do not differ significantly ({figures})"
                + (f", nor could they: {tables} tables are too few for {len(order)} strategies." if few else "."))
    apart = [f"{a} from {b}" for a, b in end["apart"]]
    return (f"Mean ranks over {tables} tables: {names}; the ranks differ significantly ({figures}); Nemenyi's critical "
            f"difference {end['critical_difference']:.2f} tells apart {listed(apart) or 'no single pair'}.")


def listed(names: Sequence[str], most: int = MOST) -> str:
    """Names in a sentence: a, b and c."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"
