"""The report of a run: one HTML file that needs nothing else, and the front as a PNG beside it."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from archfab.drawing import png, svg
from archfab.evaluate import load_device
from archfab.runs import Member, Run
from archfab.runs.picture import curves_figure, front_figure, title
from archfab.runs.shared_picture import lessons_figure
from archfab.space import Space

STYLE = """
:root{color-scheme:light}body{font:15px/1.5 system-ui,sans-serif;color:#1b2a3a;max-width:76rem;margin:2rem auto;
padding:0 1rem;background:#fff}h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;
border-bottom:1px solid #dfe5ea;padding-bottom:.2rem}table{border-collapse:collapse;font-size:.86rem}
td,th{padding:.3rem .7rem;text-align:left;border-bottom:1px solid #eef1f4;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.wide{overflow-x:auto}
small,.quiet{color:#62707d}.verdict{background:#f2f6fa;border-left:4px solid #0b6fb8;padding:.6rem 1rem;margin:1rem 0}
.verdict.bad{border-color:#c2410c;background:#fdf3ee}svg{max-width:100%;height:auto}code{font-size:.85em}
figure{margin:1rem 0}figcaption{color:#62707d;font-size:.86rem}img{max-width:100%}
details{margin:.6rem 0}summary{cursor:pointer}
"""


def write_report(run: Run) -> Path:
    """Writes `report.html` and `front.png` into the run's folder; returns the report's path."""
    figure = front_figure(run)
    replace(run.folder / "front.png", png(figure))
    path = run.folder / "report.html"
    replace(path, page(run, svg(figure)).encode())
    return path


def replace(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def page(run: Run, front: str) -> str:
    document = run.plain()
    curves, taught = curves_figure(run), lessons_figure(run)
    sections = [
        head(run, document), "".join(f"<p class='verdict{' bad' if 'NO' in s else ''}'>{escape(s)}</p>"
                                     for s in document["verdict"]),
        f"<h2>Front</h2>{front}", front_table(run), section("Shared weights", svg(taught) if taught else ""),
        section("What the networks show", shown(run)),
        section("Training", svg(curves) if curves else ""),
        section("Beside the search", comparison(run, document)), section("Where the figures come from", origins(run)),
        section("What did not work", failures(run)), section("How it was run", settings(run))]
    return (f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(run.name)}</title>"
            f"<style>{STYLE}</style></head><body>{''.join(sections)}</body></html>")


def section(name: str, body: str) -> str:
    return f"<h2>{name}</h2>{body}" if body else ""


def head(run: Run, document: Mapping[str, Any]) -> str:
    aims = ", ".join(f"{'least' if sense == 'min' else 'most'} {name}" for name, sense in run.spec.objectives.items())
    bounds = f"; within {', '.join(run.spec.limits)}" if run.spec.limits else ""
    state = "" if document["finished"] else f" <b>Not finished:</b> archfab resume {escape(str(run.folder))}"
    outside = document["rejected"] - document["unknown"]
    rejected = (f", {outside:,} proposals outside the limits were not trained" if outside else "") + (
        f", {document['unknown']:,} are unknown to the estimator" if document["unknown"] else "")
    where = "" if run.spec.device == "null" else " on " + escape(run.spec.device)
    return (f"<h1>{escape(title(run))}{where}</h1><p class='quiet'>{escape(aims)}{escape(bounds)}. "
            f"{document['trials']} trials of {document['different']} networks by {escape(run.spec.strategy)} in "
            f"{document['seconds']:.0f} s ({document['failed']} failed{rejected}); run {escape(run.name)}, "
            f"seed {run.spec.seed}.{state}</p>")


def front_table(run: Run) -> str:
    """The front's members with intervals, and what cannot be told apart."""
    members = run.front
    if not members:
        return "<p>No network keeps the limits.</p>"
    names = list(dict.fromkeys([*run.spec.objectives, *members[0].figures, *members[0].metrics]))
    rows = []
    for i, member in enumerate(members):
        test = member.delivered.get("test", {})
        tested = ", ".join(f"{name} {value:.4g}{spread(member, name)}" for name, value in test.items())
        alike = ", ".join(other.id[:6] for other in members[:i] + members[i + 1:] if alike_in(run, member, other))
        bundle = member.delivered.get("bundle")
        link = f"<a href='{escape(bundle)}/bundle.json'>{escape(bundle)}</a>" if bundle else ""
        rows.append([f"<code>{member.id}</code>", *(figure(member, name) for name in names), tested, link, alike,
                     f"<details><summary>{len(member.genotype)} decisions</summary><code>"
                     f"{escape(json.dumps(member.genotype))}</code></details>"])
    note = ("<p class='quiet'>A range is where the true value can lie. Networks whose ranges overlap in every "
            "objective are named as not told apart: do not rank them by these figures.</p>")
    return table(["network", *names, "on test data", "bundle", "not told apart from", "genotype"], rows,
                 numeric=range(1, len(names) + 1)) + note


def shown(run: Run) -> str:
    """What each delivered network shows: its pictures, and links to its tables; the best one's lie open."""
    parts: list[str] = []
    for member in run.front:
        folder, exhibits = member.delivered.get("bundle", ""), member.delivered.get("exhibits", ())
        failed = member.delivered.get("exhibits_failed")
        pieces = [f"<p>Its pictures and tables failed: {escape(failed)}</p>"] if failed else []
        pieces += [exhibit(run.folder / folder / each["file"], folder, each) for each in exhibits]
        if pieces:
            parts.append(f"<details{'' if parts else ' open'}><summary>network <code>{member.id}</code></summary>"
                         f"{''.join(pieces)}</details>")
    return "".join(parts)


def exhibit(path: Path, folder: str, each: Mapping[str, str]) -> str:
    """A picture with what it shows, or a link."""
    link = f"<a href='{escape(folder)}/{escape(each['file'])}'>{escape(each['file'])}</a>"
    picture = ""
    if path.suffix == ".svg" and path.is_file():
        data = base64.b64encode(path.read_bytes()).decode()
        picture = f"<img alt='{escape(each['about'])}' src='data:image/svg+xml;base64,{data}'>"
    return f"<figure>{picture}<figcaption>{escape(each['about'])} {link}</figcaption></figure>"


def figure(member: Member, name: str) -> str:
    value = member.metrics.get(name)
    if value is None:
        return ""
    known = member.figures.get(name)
    around = f"<br><small>{known['low']:.4g} to {known['high']:.4g}</small>" if known and known["low"] < known["high"] \
        else ""
    return (f"{value:,.0f}" if value == int(value) else f"{value:.5g}") + around


def spread(member: Member, name: str) -> str:
    seeds = member.delivered["seeds"]
    return f" ± {member.delivered['test_spread'][name]:.2g} ({seeds} seeds)" if seeds > 1 else ""


def alike_in(run: Run, one: Member, other: Member) -> bool:
    """Whether the intervals of two networks overlap in every objective."""
    def bounds(member: Member, name: str) -> tuple[float, float]:
        known = member.figures.get(name, {"low": member.metrics[name], "high": member.metrics[name]})
        return known["low"], known["high"]

    return all(bounds(one, name)[0] <= bounds(other, name)[1] and bounds(other, name)[0] <= bounds(one, name)[1]
               for name in run.spec.objectives)


def comparison(run: Run, document: Mapping[str, Any]) -> str:
    rows = [[escape(name), "baseline", ", ".join(f"{key} {value:.4g}" for key, value in scores.items()), ""]
            for name, scores in run.baseline.items()]
    for arm, volume in run.hypervolumes().items():
        members = run.front_of(arm)
        if members or arm == "search":
            best = members[0].metrics if members else {}
            name = run.spec.strategy if arm == "search" else "random search"
            values = ", ".join(f"{goal} {best[goal]:.4g}" for goal in run.spec.objectives if best)
            rows.append([escape(name), f"{run.count(arm, 'ok', 'failed')} networks", values, f"{volume:.4f}"])
    return table(["method", "effort", "best in the first objective", "hypervolume of the front"], rows, numeric=[3])


def origins(run: Run) -> str:
    device = load_device(run.spec.device)
    figures = run.front[0].figures if run.front else {}
    first = table(["figure", "origin"], [[name, str(known["origin"])] for name, known in figures.items()])
    rows = [[name, " ".join(str(entry[key]) for key in ("value", "low", "high", "unit") if key in entry),
             str(entry["origin"]), escape(str(entry["source"]))] for name, entry in device.sources.items()]
    return first + (f"<p>{escape(device.about)}</p>" + table(["number", "value", "origin", "source"], rows)
                    if rows else "")


def failures(run: Run) -> str:
    reasons = Counter(event.note for event in run.events if event.kind == "failed" and event.note)
    undelivered = [[escape(event.note), "1"] for event in run.events if event.kind == "delivered" and event.note]
    rows = [[escape(note), str(count)] for note, count in reasons.most_common(20)] + undelivered
    return table(["reason", "networks"], rows, numeric=[1]) if rows else ""


def settings(run: Run) -> str:
    space = Space.from_data(run.spec.space)
    counted = f"{space.counter.count:,} architectures" if space.counter else "too entangled to be counted"
    ended = "; ".join(f"{event.data['phase']}: {event.data['why']}" for event in run.events if event.kind == "ended")
    lines = {"space": f"{run.spec.space_from or 'given in Python'}, {counted}, hash {space.hash}",
             "sampling": space.sampling, "phases ended": ended,
             "environment": ", ".join(f"{key} {value}" for key, value in run.environment.items()),
             "run again": command(run)}
    spec = {key: value for key, value in run.spec.plain().items() if key != "space"}
    return table(["", ""], [[key, escape(value)] for key, value in lines.items()]) + \
        f"<details><summary>the whole request</summary><pre>{escape(json.dumps(spec, indent=1))}</pre></details>"


def command(run: Run) -> str:
    """The command line that asks for the same run."""
    spec = run.spec
    words = ["archfab", "search", spec.task, "--strategy", spec.strategy, "--estimator", spec.estimator,
             "--device", spec.device, "--seed", str(spec.seed), "--workers", str(spec.workers),
             "--deliver", str(spec.deliver), "--seeds", str(spec.seeds)]
    words += ["--trials", str(spec.trials)] if spec.trials else []
    words += ["--budget", f"{spec.seconds:g}s"] if spec.seconds else []
    words += ["--space", spec.space_from] if spec.space_from else []
    for name, sense in spec.objectives.items():
        words += [f"--{sense}imize", name]
    for limit in spec.limits:
        words += ["--limit", f'"{limit}"']
    for prefix, budget in (("", spec.budget), ("full-", spec.full_budget)):
        words += [word for name, value in budget.items() for word in (f"--{prefix}{name}", f"{value:g}")]
    for options in (spec.task_options, spec.strategy_options, spec.estimator_options):
        words += [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return " ".join(words + ([] if spec.random or spec.strategy == "random" else ["--no-random"]))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    right = set(numeric)

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}{' class=n' if i in right else ''}>{cell}</{tag}>" for i, cell in enumerate(row))

    lines = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    top = f"<tr>{cells([escape(name) for name in header], 'th')}</tr>" if any(header) else ""
    return f"<div class='wide'><table>{top}{lines}</table></div>"
