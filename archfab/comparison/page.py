"""The report of a comparison: `comparison.json`, `comparison.png` and one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import mean
from typing import Any

from archfab.comparison.picture import KINDS, comparison_figure
from archfab.comparison.significance import LEVEL, TABLES
from archfab.comparison.verdict import against, emptiness, p_value, ranked
from archfab.drawing import png, svg
from archfab.report import STYLE, replace, section, table

Doc = Mapping[str, Any]
MOST_TABLES = 6         # whose means and medians are drawn in one PNG
BAD = (" NO ", "found no architecture")
ABOUT = {"mean": "How far the reported value is from the best of the table: the mean over runs and its 95 % bootstrap "
                 "band. A line at 0 has reached the best there is in every run.",
         "median": "The same runs: the median, and a band from the 25 to the 75 % quantile. A line at 0 has reached "
                   "the best there is in half of the runs or more."}


def write(folder: Path, document: Doc) -> Path:
    """Writes all three into a folder; returns the report's path."""
    replace(folder / "comparison.json", json.dumps(document, indent=1, allow_nan=False).encode())
    both = len(document["tables"]) <= MOST_TABLES
    replace(folder / "comparison.png", png(comparison_figure(document, list(KINDS) if both else ["mean"])))
    path = folder / "report.html"
    replace(path, page(document, {kind: svg(comparison_figure(document, [kind])) for kind in KINDS}).encode())
    return path


def page(document: Doc, pictures: Mapping[str, str]) -> str:
    tables = document["tables"]
    sections = [
        head(document),
        "".join(f"<p class='verdict{' bad' if any(word in text for word in BAD) else ''}'>{escape(text)}</p>"
                for text in document["verdict"]),
        section("Regret", "".join(f"{pictures[kind]}<p class='quiet'>{about}</p>" for kind, about in ABOUT.items())),
        section("Ranks", ranks(document["ranks"], len(tables))),
        *(section(escape(each["label"]), one_table(each)) for each in tables),
        section("What did not work", failures(document)), section("How it was run", settings(document))]
    return ("<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Strategies compared</title>"
            f"<style>{STYLE}</style></head><body>{''.join(sections)}</body></html>")


def head(document: Doc) -> str:
    asked = document["request"]
    seen = ("validation scores of one seed, drawn" if asked["noise"] else "scores without noise")
    length = f" after {asked['epochs']:g} epochs" if asked["epochs"] else ""
    return (f"<h1>{plural(len(asked['strategies']), 'strategy', 'strategies')} on "
            f"{plural(len(asked['tables']), 'table')}</h1>"
            f"<p class='quiet'>{plural(asked['runs'], 'run')} of each on each, {asked['evaluations']} evaluations a "
            f"run; strategies see {seen}{length}{'' if asked['hints'] else ' and no cheap figures'}; reported is what "
            "the network that looked best scores in truth.</p>")


def ranks(found: Doc, tables: int) -> str:
    """Mean ranks at each budget, which of them are told apart, and the ranks on each table."""
    if not found["budgets"]:
        return ""
    end = found["budgets"][-1]
    order = sorted(end["mean"], key=end["mean"].get)
    header = ["", "strategy", *(f"mean rank at {row['evaluations']}" for row in found["budgets"])]
    header += ["not told apart from"] if end["critical_difference"] else []
    apart = {frozenset(pair) for pair in end["apart"]}
    rows = []
    for place, name in enumerate(order, 1):
        row = [str(place), code(name), *(f"{each['mean'][name]:.2f}" for each in found["budgets"])]
        if end["critical_difference"]:
            row.append(places([other for other in order if other != name and frozenset((name, other)) not in apart],
                              order))
        rows.append(row)
    tests = [[f"{row['evaluations']}", f"{row['friedman']['chi2']:.3g}",
              "" if row["friedman"]["f"] is None else f"{row['friedman']['f']:.3g}", p_value(row["friedman"]["p"]),
              f"{row['critical_difference']:.2f}"] for row in found["budgets"] if row["friedman"]]
    text = ("<p class='quiet'>Rank 1 has the least mean regret on a table. " +
            (f"A test across tables needs {TABLES} or more of them.</p>" if not tests else
             "Friedman's test says whether the mean ranks differ by more than chance; if they do, two that differ by "
             "Nemenyi's critical difference or more are told apart (5 %).</p>"
             + table(["evaluations", "Friedman chi2", "F", "p", "critical difference"], tests, numeric=range(5))))
    each_table = table(["table", *order], [[escape(name), *(f"{line[other]:g}" for other in order)]
                                           for name, line in end["tables"].items()], numeric=range(1, len(order) + 1))
    return (table(header, rows, numeric=[0, *range(2, 2 + len(found["budgets"]))]) + text
            + (f"<details><summary>ranks on each table at {end['evaluations']}</summary>{each_table}</details>"
               if tables > 1 else ""))


def code(name: str) -> str:
    return f"<code>{escape(name)}</code>"


def places(names: Sequence[str], order: Sequence[str]) -> str:
    """Strategies by their places in a list, neighbours drawn together: 2-5, 7."""
    found: list[list[int]] = []
    for place in sorted(order.index(name) + 1 for name in names):
        if found and place == found[-1][-1] + 1:
            found[-1].append(place)
        else:
            found.append([place])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found)


def one_table(each: Doc) -> str:
    """A table's strategies with their figures, and what can be told apart."""
    rows = ranked(each)
    nothing = [["", named(row), *[""] * 8] for row in each["strategies"] if row["empty"] and not row["curve"]]
    if not rows and not nothing:
        return ""
    order = [row["strategy"] for row in rows]
    header = ["", "strategy", f"mean {each['measure']}", "mean regret", "95 %", "median", "10 to 90 %", "25 to 75 %",
              "p against 1", "not told apart from"]
    cells = []
    for place, row in enumerate(rows, 1):
        end = row["budgets"][-1]
        test = against(each, order[0], row["strategy"])
        tests = [against(each, row["strategy"], other["strategy"]) for other in rows if other is not row]
        alike = [pair["other"] if pair["one"] == row["strategy"] else pair["one"] for pair in tests
                 if pair and not pair["significant"]]
        cells.append([str(place), named(row), f"{end['value']:.5g}", f"{end['mean']:.3g}",
                      f"{end['low']:.3g} to {end['high']:.3g}", f"{end['median']:.3g}",
                      f"{end['q10']:.3g} to {end['q90']:.3g}", f"{end['q25']:.3g} to {end['q75']:.3g}",
                      p_value(test["holm"]) if test else "", places(alike, order)])
    return (intro(each) + table(header, cells + nothing, numeric=[0, *range(2, 9)])
            + (over_budgets(each, rows) if rows else ""))


def named(row: Doc) -> str:
    """A strategy, and below it that runs of it measured nothing."""
    return code(row["strategy"]) + (f"<br><small>{escape(emptiness(row))}</small>" if row["empty"] else "")


def intro(each: Doc) -> str:
    aims = ", ".join(f"{'least' if sense == 'min' else 'most'} {name}" for name, sense in each["goals"].items())
    bounds = f" within {', '.join(each['limits'])}" if each["limits"] else ""
    if each["box"]:
        corners = ", ".join(f"{name} {low:.5g} to {high:.5g}" for name, (low, high) in each["box"].items())
        best = f"the exact front has {each['front']} networks; volumes are taken in the box {corners}"
    else:
        best = f"the best of the table is {each['best']:.6g}"
    return (f"<p class='quiet'>{escape(each['about'])}. {each['architectures']:,} architectures; "
            f"{escape(aims + bounds)}; {escape(best)}. Regret after all evaluations; p by Wilcoxon's signed-rank "
            f"test on runs with the same draws, Holm-corrected; told apart means p &lt; {LEVEL:g}.</p>")


def over_budgets(each: Doc, rows: Any) -> str:
    header = ["strategy", *(f"{each['measure']} at {point['at']:g}" for point in rows[0]["budgets"]),
              *(f"regret at {point['at']:g}" for point in rows[0]["budgets"]), "runs", "ended early",
              "evaluations a run", "rejected a run", "CPU ms an evaluation"]
    cells = [[code(row["strategy"]), *(f"{point['value']:.5g}" for point in row["budgets"]),
              *(f"{point['mean']:.3g}" for point in row["budgets"]), str(row["runs"]),
              str(sum(map(bool, row["ended"]))), f"{mean(row['evaluated']):.4g}", f"{mean(row['rejected']):.4g}",
              f"{row['cpu_ms_per_evaluation'] or 0:.3g}"] for row in rows]
    pairs = [[code(pair["one"]), code(pair["other"]), p_value(pair["p"]),
              p_value(pair["holm"]), escape(pair["better"] or "") if pair["significant"] else "not significant"]
             for pair in each["pairs"]]
    found = ("<details><summary>earlier budgets, runs and time</summary>"
             f"{table(header, cells, numeric=range(1, len(header)))}</details>")
    if pairs:
        found += (f"<details><summary>{plural(len(pairs), 'pair')} tested</summary>"
                  f"{table(['one', 'other', 'p', 'p, corrected', 'better'], pairs, numeric=[2, 3])}</details>")
    return found


def failures(document: Doc) -> str:
    shown = [[code(row["strategy"]), escape(row["table"]), str(row["seed"]),
              escape(row["message"])] for row in document["failures"][:50]]
    more = len(document["failures"]) - len(shown)
    return (table(["strategy", "table", "seed", "message"], shown, numeric=[2])
            + (f"<p>and {more} more, in comparison.json</p>" if more else "")) if shown else ""


def settings(document: Doc) -> str:
    about = ", ".join(f"{name} {value}" for name, value in document["environment"].items())
    rows = [["run again", f"<code>{escape(document['command'])}</code>"], ["request", f"hash {document['hash']}"],
            ["environment", escape(about)]]
    return table(["", ""], rows) + (f"<details><summary>the whole request</summary><pre>"
                                    f"{escape(json.dumps(document['request'], indent=1))}</pre></details>")


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
