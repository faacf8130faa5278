"""The verb `device`: its words, what they do, and how their answers are shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def add(one: argparse.ArgumentParser) -> None:
    """The words below the verb, and their options."""
    words = one.add_subparsers(dest="word", required=True, metavar="add|next|predict|table|remove")

    def word(name: str, about: str, example: str) -> argparse.ArgumentParser:
        made = words.add_parser(name, help=about, description=about, epilog=f"example: {example}", allow_abbrev=False,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
        made.set_defaults(takes_options=name != "remove")
        made.add_argument("--json", action="store_true", default=argparse.SUPPRESS,
                          help="one JSON document on standard output")
        return made

    def naming(made: argparse.ArgumentParser) -> None:
        made.add_argument("--knowledge", nargs="+", default=[], metavar="DIR",
                          help="folders or CSV files with latencies of other devices (default: what is bundled)")
        made.add_argument("--table", metavar="NAME", help="which space of the knowledge the networks are of, where the "
                                                          "columns do not say: nb201, fbnet, ofa")
        made.add_argument("--task", help="the task whose networks are named by a column genotype")
        made.add_argument("--space", metavar="NAME", help="one of its spaces, or a .py file that declares `space`")
        made.add_argument("--data", metavar="PATH", help="the task's data set (default: a small one that is built in)")

    made = word("add", "a new device from about ten measured networks",
                "archfab device add my-phone --measurements ten.csv\n"
                "ten.csv names the network (idx; ops; ks, e, d, r; arch_str; genotype; onnx) and has latency_ms")
    made.add_argument("name", help="what the device is called from then on: --device NAME")
    made.add_argument("--measurements", required=True, metavar="FILE", help="CSV or JSON; the latency column says its "
                                                                            "unit: latency_ms, latency_us, latency_s")
    made.add_argument("--unit", help="ms, us or s: of a latency column that does not say its own")
    made.add_argument("--replace", action="store_true", help="also where there is a device of that name")
    made.add_argument("--keep-outliers", action="store_true", help="trust measurements that are far from what the "
                                                                   "others say")
    made.add_argument("--png", type=Path, metavar="FILE", help="each measurement against what the others say")
    naming(made)
    made = word("next", "which networks to measure next: those that tell most of the others",
                "archfab device next --table nb201 --out ten.csv; archfab device next --task vision --space cell")
    made.add_argument("--number", type=int, default=10, help="how many (default: %(default)s)")
    made.add_argument("--candidates", metavar="FILE", help="CSV or JSON with the networks to choose from")
    made.add_argument("--measurements", metavar="FILE", help="what is measured already")
    made.add_argument("--unit", help="ms, us or s: of its latency column, where that does not say its own")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", metavar="FILE", help="a CSV file whose column latency_ms is to be filled in")
    naming(made)
    made = word("predict", "what a learned device says of many networks",
                "archfab device predict my-phone --networks all.csv --out latencies.csv")
    made.add_argument("name", help="a device that was made by archfab device add")
    made.add_argument("--networks", required=True, metavar="FILE", help="CSV or JSON; with a latency column, "
                                                                        "predictions are compared with it")
    made.add_argument("--out", metavar="FILE", help="a CSV file with latencies and intervals")
    made.add_argument("--png", type=Path, metavar="FILE", help="predicted against measured")
    naming(made)
    made = word("table", "a new device from every kernel of a space, measured one by one here or on a board",
                "archfab device table my-laptop --task vision --space mobile\n"
                "archfab device table my-board --on board.toml --task vision --space mobile")
    made.add_argument("name", help="what the device is called from then on: --device NAME")
    made.add_argument("--on", default="host", metavar="DEVICE", help="what measures: host, or a .toml file with model ="
                                                                     " \"host\", such as a board's (default: "
                                                                     "%(default)s)")
    made.add_argument("--networks", type=int, default=12, help="random networks that are measured whole, to see how "
                                                               "far sums are off (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--replace", action="store_true", help="also where there is a device of that name")
    made.add_argument("--task", required=True, help="the task whose space it is")
    made.add_argument("--space", metavar="NAME", help="one of its spaces, or a .py file that declares `space`")
    made.add_argument("--data", metavar="PATH", help="the task's data set (default: a small one that is built in)")
    word("remove", "removes a device of your own", "archfab device remove my-phone").add_argument("name")


def carry_out(asked: argparse.Namespace, options: Mapping[str, Any]) -> Any:
    """Does what was asked; returns the document."""
    if asked.word == "remove":
        return remove(asked.name)
    from archfab.device.networks import Naming
    if asked.word == "table":
        from archfab.device.tabulate import tabulate
        return tabulate(asked.name, Naming([], None, asked.task, asked.space, asked.data, options), asked.on,
                        asked.networks, asked.seed, asked.replace)
    naming = Naming([], asked.table, asked.task, asked.space, asked.data, options)
    if asked.word == "next":
        from archfab.device.choose import following
        return following(asked.knowledge, naming, asked.candidates, asked.measurements, asked.unit, asked.number,
                         asked.seed, asked.out)
    from archfab.device.picture import left_out_picture, predicted_picture
    if asked.word == "predict":
        from archfab.device.choose import predicted
        document = predicted(asked.name, asked.networks, asked.knowledge, naming, asked.out)
        draw = predicted_picture
    else:
        from archfab.device.add import add as add_device
        document = add_device(asked.name, asked.measurements, asked.knowledge, asked.unit, naming, asked.replace,
                              asked.keep_outliers)
        draw = left_out_picture
    if asked.png:
        draw(document, asked.png)
    return document


def remove(name: str) -> dict[str, Any]:
    """Removes a device of the user's own, with its price list."""
    from archfab import registry
    from archfab.core import UsageError, unknown
    folder = registry.own_devices()
    if name in registry.bundled("devices"):
        raise UsageError(f"'{name}' comes with archfab and stays")
    own = {path.stem: path for path in folder.glob("*.toml")} if folder.is_dir() else {}
    if name not in own:
        raise unknown("device of your own", name, list(own))
    files = [file for file in (own[name], folder / f"{name}.prices.csv", folder / f"{name}.csv") if file.exists()]
    for file in files:
        file.unlink()
    return {"device": name, "removed": [str(file) for file in files]}


def shown(word: str) -> Callable[[Any], None]:
    """How the answer to a word is shown to a person."""
    ways: dict[str, Callable[[Any], None]] = {"add": show_added, "next": show_next, "predict": show_predicted,
                                              "table": show_tabulated,
                                              "remove": lambda document: print(f"removed {document['device']}")}
    return ways[word]


def show_added(document: Mapping[str, Any]) -> None:
    from archfab.terminal import say, show_table
    say(f"{document['device']}: {document['about']} ({document['seconds']:.1f} s)")
    show_table(["network", "measured ms", "the others say", "low", "high", ""],
               [[row["key"], row["measured"], row["predicted"], row["low"], row["high"],
                 "outlier" if row["outlier"] else ""] for row in document["checks"]])
    say()
    for each in document["runtimes"]:
        say(f"runtime: {each['about']} (probability {each['probability']:.2f})")
    expected = document["expected"]
    say(f"rank correlation to expect: {expected['spearman']:.3f} ({expected['by']})")
    if "rehearsed" in expected:
        say(f"rehearsed with the same networks on {expected['rehearsed']} known devices, their own columns left out: "
            f"{expected['rehearsed_spearman']:.3f} on average, {expected['rehearsed_worst']:.3f} at worst, "
            f"{100 * expected['rehearsed_within_10_percent']:.0f} % within 10 %")
    rounded = f", measurements rounded to {document['rounded_to_ms']:g} ms" if document["rounded_to_ms"] else ""
    say(f"90 % interval: +-{100 * document['interval_half_width']:.1f} % (median); noise of one measurement "
        f"{100 * document['floor']:.1f} %{rounded}: networks that differ by less cannot be ranked")
    if document["next"]:
        say(f"measure next: {'; '.join(document['next'])}")
    for note in document["notes"]:
        say(f"note: {note}")
    say(f"{document['file']}; use it: --device {document['device']}")


def show_tabulated(document: Mapping[str, Any]) -> None:
    from archfab.terminal import say
    ratios = sorted(row["ratio"] / document["scale"] for row in document["checked"])
    say(f"{document['kernels']} kernels measured on {document['measured_on']}; a run takes "
        f"{document['start_ms']:.4g} ms beside them")
    say(f"{len(ratios)} of {document['drawn']} random networks have listed kernels only: whole they take "
        f"{document['scale']:.3g} times the sum, which the table scales by; "
        f"then {ratios[0]:.2f} to {ratios[-1]:.2f} of it")
    for key, why in list(document["not_measured"].items())[:5]:
        say(f"not measured: {key}: {why}")
    say(f"{document['file']}; use it: --device {document['device']}")


def show_next(document: Mapping[str, Any]) -> None:
    from archfab.terminal import say, show_table
    names = list(document["next"][0])
    show_table(names, [[row[name] for name in names] for row in document["next"]])
    say(f"the most telling of {document['from']:,} networks, by what {len(document['known_devices'])} known devices "
        "take")
    if document["file"]:
        say(f"{document['file']}: fill in latency_ms, then: archfab device add NAME --measurements {document['file']}")


def show_predicted(document: Mapping[str, Any]) -> None:
    from archfab.terminal import say, show_table
    rows = document["networks"]
    names = [name for name in rows[0] if name != "measured_ms" or any(row[name] is not None for row in rows)]
    show_table(names, [[row[name] for name in names] for row in rows[:20]])
    if len(rows) > 20:
        say(f"... {len(rows):,} networks" + (f" in {document['file']}" if document["file"] else "; all: --out FILE"))
    if "spearman" in document:
        say(f"{document['measured']:,} measured: rank correlation {document['spearman']:.3f}, "
            f"{100 * document['within_10_percent']:.0f} % within 10 %, {100 * document['coverage']:.0f} % in their "
            "90 % interval")
    for note in document["notes"]:
        say(f"note: {note}")
