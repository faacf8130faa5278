"""A learned device on disk: a TOML file that says what it was made of, and a CSV file with its price list.

The list of each runtime has one row for each term and each code: the price, and what its uncertainty is made of. The
covariance of the prices is diag(own^2) + spread spread' - seen seen'.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archfab.core import UsageError
from archfab.hardware.onboarding.knowledge import read_rows
from archfab.hardware.onboarding.learning import Learned
from archfab.hardware.onboarding.posterior import Posterior
from archfab.hardware.onboarding.spaces import ABOUT_RUNTIMES, RUNTIMES
from archfab.hardware.onboarding.terms import TERMS

WHOLE = ("runtime", "column", "price_ms", "usual_ms", "own_ms")


def toml(data: Mapping[str, Any]) -> str:
    """Plain data as TOML: values, then tables, then lists of tables."""
    def value(x: Any) -> str:
        if isinstance(x, list | tuple):
            return "[" + ", ".join(map(value, x)) + "]"
        return json.dumps(x, ensure_ascii=False).replace("\x7f", "\\u007f")

    def listed(x: Any) -> bool:
        return isinstance(x, list) and bool(x) and isinstance(x[0], Mapping)

    lines = [f"{key} = {value(x)}" for key, x in data.items() if not isinstance(x, Mapping) and not listed(x)]
    for key, x in data.items():
        if isinstance(x, Mapping):
            lines += ["", f"[{key}]", *(f"{name} = {value(each)}" for name, each in x.items())]
    for key, x in data.items():
        for entry in x if listed(x) else ():
            lines += ["", f"[[{key}]]", *(f"{name} = {value(each)}" for name, each in entry.items())]
    return "\n".join(lines) + "\n"


def runtime_tables(model: Learned) -> list[dict[str, Any]]:
    """What the TOML file says of each runtime that may be the device's."""
    return [{"name": RUNTIMES[at], "about": ABOUT_RUNTIMES[RUNTIMES[at]], "weight": float(f"{weight:.12g}"),
             "noise": round(post.noise, 8), "rounded_to_ms": post.step, "places_ms": float(f"{post.places:.9g}")}
            for post, weight, at in zip(model.posteriors, model.weights, model.runtimes, strict=True)]


def price_rows(model: Learned, codes: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The price lists as a table: header and rows."""
    spread, seen = (max(getattr(post, what).shape[1] for post in model.posteriors) for what in ("spread", "seen"))
    header = [*WHOLE, *(f"spread_{i}_ms" for i in range(spread)), *(f"seen_{i}_ms" for i in range(seen))]
    rows = []
    for post, at in zip(model.posteriors, model.runtimes, strict=True):
        for i, name in enumerate((*TERMS, *codes)):
            numbers = [post.mean[i], post.low[i], post.scale[i],
                       *np.pad(post.spread[i], (0, spread - post.spread.shape[1])),
                       *np.pad(post.seen[i], (0, seen - post.seen.shape[1]))]
            rows.append([RUNTIMES[at], name, *(f"{x:.12g}" for x in numbers)])
    return header, rows


def save(folder: Path, name: str, document: Mapping[str, Any], model: Learned, codes: Sequence[str]) -> Path:
    """Writes both files, the TOML file last, so that a device is whole or absent. Returns its path."""
    text = io.StringIO()
    header, rows = price_rows(model, codes)
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    folder.mkdir(parents=True, exist_ok=True)
    prices = f"{name}.prices.csv"
    put(folder / prices, text.getvalue())
    whole = {"about": document["about"], "model": "learned", "prices": prices,
             **{key: x for key, x in document.items() if key != "about"}, "runtime": runtime_tables(model)}
    put(folder / f"{name}.toml", toml(whole))
    return folder / f"{name}.toml"


def put(path: Path, text: str) -> None:
    """Writes a file in one piece: whoever reads sees the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(numbers: Mapping[str, Any]) -> tuple[Learned, tuple[str, ...]]:
    """The model of a device file and the names of its codes; an error says which number is wrong."""
    where = f"device '{numbers.get('name')}'"
    prices = numbers.get("prices")
    if not isinstance(prices, str):
        raise UsageError(f"{where}: prices names the CSV file with its price list, beside the TOML file")
    file = Path(str(numbers.get("path", ""))).parent / prices
    rows = read_rows(file)
    runtimes = numbers.get("runtime")
    if not isinstance(runtimes, list) or not runtimes or not all(isinstance(each, Mapping) for each in runtimes):
        raise UsageError(f"{where} has no [[runtime]]; make it again: archfab device add {numbers.get('name')}")
    found = [posterior(each, [row for row in rows if row.get("runtime") == each.get("name")], f"{where}, {file.name}")
             for each in runtimes]
    weights = [number(each, "weight", where) for each in runtimes]
    if not math.isclose(sum(weights), 1, abs_tol=1e-3):
        raise UsageError(f"{where}: the weights of its runtimes add up to {sum(weights):.4g}, not to 1")
    interval = numbers.get("interval")
    factor = number(interval if isinstance(interval, Mapping) else {}, "factor", f"{where}, [interval]")
    codes = tuple(row["column"] for row in rows if row["runtime"] == runtimes[0]["name"])[len(TERMS):]
    return Learned(tuple(found), tuple(weight / sum(weights) for weight in weights),
                   tuple(RUNTIMES.index(each["name"]) for each in runtimes), factor), codes


def posterior(entry: Mapping[str, Any], rows: Sequence[Mapping[str, str]], where: str) -> Posterior:
    if entry.get("name") not in RUNTIMES:
        raise UsageError(f"{where}: a runtime is one of {', '.join(RUNTIMES)}, not {entry.get('name')!r}")
    if tuple(row.get("column") for row in rows[:len(TERMS)]) != TERMS:
        raise UsageError(f"{where}: the price list of the runtime {entry['name']} has other terms than this version of "
                         "archfab; make the device again: archfab device add")
    names = list(rows[0])
    if missing := [name for name in WHOLE if name not in names]:
        raise UsageError(f"{where} has no column {missing[0]}")
    groups = [["price_ms"], ["usual_ms"], ["own_ms"], [name for name in names if name.startswith("spread_")],
              [name for name in names if name.startswith("seen_")]]
    try:
        mean, low, scale, spread, seen = (np.array([[float(row[name]) for name in group] for row in rows])
                                          for group in groups)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    if not all(np.isfinite(part).all() for part in (mean, low, scale, spread, seen)):
        raise UsageError(f"{where}: a price is not finite")
    return Posterior(mean[:, 0], low[:, 0], scale[:, 0], spread, seen, number(entry, "noise", where),
                     number(entry, "rounded_to_ms", where), 0.0, number(entry, "places_ms", where))


def number(entry: Mapping[str, Any], key: str, where: str) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UsageError(f"{where}: {key} is no number from 0 up")
    return float(value)
