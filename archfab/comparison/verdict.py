"""What a comparison says in sentences, and what it does not say: differences that could be chance are named so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archfab.comparison.significance import LEVEL, TABLES, fewest_runs

Doc = Mapping[str, Any]
MOST = 8                # names in a sentence; the tables have all of them


def ranked(table: Doc) -> list[Doc]:
    """The strategies with runs, the least mean regret at the end first."""
    return sorted((row for row in table["strategies"] if row["curve"]), key=lambda row: row["budgets"][-1]["mean"])


def against(table: Doc, one: str, other: str) -> Doc | None:
    """The test of two strategies on a table."""
    return next((pair for pair in table["pairs"] if {pair["one"], pair["other"]} == {one, other}), None)


def table_verdict(table: Doc) -> str:
    """Which strategy is ahead on a table, and from which others that can be told apart."""
    rows = ranked(table)
    if not rows:
        return f"{table['label']}: NO run came to its end, so nothing can be said."
    first = rows[0]
    end = first["budgets"][-1]
    name = first["strategy"]
    figures = (f"mean {table['measure']} {end['value']:.5g} where {table['best']:.5g} is possible (regret "
               f"{end['mean']:.3g}, 95 % {end['low']:.3g} to {end['high']:.3g}, {first['runs']} runs)")
    where = f"{table['label']}, after {end['at']:g} evaluations: "
    if len(rows) == 1:
        return f"{where}{name} reaches a {figures}; there is no other strategy to compare it with."
    fewest = fewest_runs(len(rows))
    if min(pair["runs"] for pair in table["pairs"]) < fewest:
        return (f"{where}{name} has the least mean regret, a {figures}; NO difference can be called significant with "
                f"so few runs: {len(rows)} strategies need {fewest} or more each.")
    tests = {row["strategy"]: against(table, name, row["strategy"]) for row in rows[1:]}
    worse = [other for other, test in tests.items() if test and test["significant"] and test["better"] == name]
    odd = [other for other, test in tests.items() if test and test["significant"] and test["better"] != name]
    alike = [other for other in tests if other not in worse and other not in odd]
    if not alike and not odd:
        return f"{where}{name} is the best, with a {figures}; significantly better than {listed(worse)}."
    said = [f"{where}{name} has the least mean regret, a {figures}"]
    if alike:
        said.append(f"not significantly different from {listed(alike)}")
    if odd:
        said.append(f"{listed(odd)} {'is' if len(odd) == 1 else 'are'} better in more of the runs, though worse on "
                    "the mean")
    if worse:
        said.append(f"significantly better than {listed(worse)}")
    return "; ".join(said) + "."


def ranks_verdict(ranks: Doc, tables: int) -> str:
    """Whether strategies differ over the tables, at the last budget."""
    end = ranks["budgets"][-1]
    order = sorted(end["mean"], key=end["mean"].get)
    names = listed([f"{name} {end['mean'][name]:.2f}" for name in order])
    if tables < TABLES:
        return "" if tables == 1 else (f"Mean ranks over {tables} tables: {names}; too few tables for a test "
                                       f"({TABLES} or more).")
    test = end["friedman"]
    figures = f"Friedman chi2 = {test['chi2']:.3g}, p = {p_value(test['p'])}"
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
