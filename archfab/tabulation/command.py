"""The verb `table`: its words, what they do, and how their answers are shown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def add(one: argparse.ArgumentParser) -> None:
    """The words below the verb, and their options."""
    words = one.add_subparsers(dest="word", required=True, metavar="show|list|build")

    def word(name: str, about: str, example: str, takes_options: bool = False) -> argparse.ArgumentParser:
        made = words.add_parser(name, help=about, description=about, epilog=f"example: {example}", allow_abbrev=False,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
        made.set_defaults(takes_options=takes_options)
        made.add_argument("--json", action="store_true", default=argparse.SUPPRESS,
                          help="one JSON document on standard output")
        return made

    show = word("show", "what a benchmark table holds: coverage, metrics, noise, predictors, exact fronts",
                "archfab table show ../nasbench201#cifar100 --maximize accuracy --minimize params_m")
    show.add_argument("table", nargs="?", help="a folder; DIR#DATASET, DIR#MAPPING/DATASET, DIR1+DIR2 (default: the "
                                               "digits that come with archfab)")
    show.add_argument("--mapping", metavar="NAME", help="a shipped mapping (archfab table list), or a .toml file")
    show.add_argument("--minimize", action="append", default=[], metavar="NAME", help="objectives whose exact front is "
                                                                                      "counted; several times")
    show.add_argument("--maximize", action="append", default=[], metavar="NAME")
    word("list", "the mappings that come with archfab: which public benchmarks it reads", "archfab table list")
    build = word("build", "trains every architecture of a small space with several seeds and writes a benchmark\n"
                          "table; interrupted, the same command goes on",
                 "archfab table build vision --space small.py --epochs 9 --devices cortex-m7 --out small\n"
                 "options of the task are given alike: --batch 128", True)
    build.add_argument("task", help="a name (archfab list tasks), or a .py file")
    build.add_argument("--data", metavar="PATH", help="the data set (default: a small one that is built in)")
    build.add_argument("--space", metavar="NAME", help="one of the task's spaces, or a .py file that declares `space`")
    build.add_argument("--epochs", type=float, metavar="N", help="of each training (default: the task's own)")
    build.add_argument("--seeds", type=int, default=3, help="trainings of each architecture (default: %(default)s)")
    build.add_argument("--devices", nargs="+", default=[], metavar="NAME", help="whose costs become columns")
    build.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    build.add_argument("--out", required=True, metavar="DIR", help="the table's folder; its name is the table's")
    build.add_argument("--about", default="", metavar="TEXT", help="one line that says what it is")
    build.add_argument("--licence", default="", metavar="TEXT", help="under which the table may be used")
    build.add_argument("--yes", action="store_true", help="also where it takes many hours")


def watcher(spec: Any, folder: Path) -> Any:
    """Says which seed is trained, and how a table that was stopped goes on."""
    from archfab.terminal import Progress
    print(f"archfab: {folder} (Ctrl-C stops it, the same command goes on)", file=sys.stderr)
    return Progress(spec)


def carry_out(asked: argparse.Namespace, options: Mapping[str, Any]) -> Any:
    """Does what was asked; returns the document."""
    if asked.word == "build":
        from archfab.tabulation.build import build_table
        return build_table(
            asked.task, asked.out, space=asked.space, data=asked.data, epochs=asked.epochs, seeds=asked.seeds,
            devices=asked.devices, workers=asked.workers, options=options, yes=asked.yes, about=asked.about,
            licence=asked.licence, watcher=watcher)
    if asked.word == "list":
        from archfab.tables.mapping import EMBEDDED, read_mapping, shipped
        return [{"name": each.name, "about": each.about, "data_set": each.data_set, "goals": dict(each.goals),
                 "architectures": each.rows, "joins": each.joins, "mapping": str(each.path)}
                for each in (read_mapping(EMBEDDED / "mapping.toml"), *shipped())]
    from archfab.core import UsageError
    from archfab.tables import read_table
    from archfab.tables.summary import summary
    if both := set(asked.minimize) & set(asked.maximize):
        raise UsageError(f"'{both.pop()}' cannot be minimized and maximized at once")
    return summary(read_table(asked.table, mapping=asked.mapping),
                   {**dict.fromkeys(asked.minimize, "min"), **dict.fromkeys(asked.maximize, "max")})


def shown(word: str) -> Callable[[Any], None]:
    """How the answer to a word is shown to a person."""
    ways: dict[str, Callable[[Any], None]] = {"show": show_summary, "list": show_list, "build": show_built}
    return ways[word]


def show_summary(document: Mapping[str, Any]) -> None:
    from archfab.tables.summary import facts
    from archfab.terminal import say, show_table
    for line in facts(document):
        say(line)
    say()
    names = ["name", "kind", "known", "least", "median", "most", "deviation"]
    show_table([*names, "seeds", "noise"], [[row[name] for name in names] + last(row) for row in document["metrics"]])
    if document["predictors"]:
        say()
        show_table(["known sooner", f"rank correlation with {next(iter(document['goals']))}", "over architectures"],
                   [[row["name"], row["spearman"], row["of"]] for row in document["predictors"]])
    for row in document["fronts"]:
        objectives = ", ".join(f"{name} {sense}" for name, sense in row["objectives"].items())
        say(f"\nthe exact front of {objectives} has {row['points']} points")


def last(row: Mapping[str, Any]) -> list[Any]:
    """Seeds and noise of the longest training of a score, on the split that is measured most often."""
    measured = row.get("measured")
    if not measured:
        return ["", ""]
    most = max(measured, key=lambda each: (each["epochs"], each["seeds"]))
    return [most["seeds"], most["noise"]]


def show_list(rows: Sequence[Mapping[str, Any]]) -> None:
    from archfab.terminal import show_table
    show_table(["mapping", "about", "data set", "goals", "architectures"],
               [[row["name"], row["about"], row["data_set"], ", ".join(f"{k} {v}" for k, v in row["goals"].items()),
                 row["architectures"] or (f"of {row['joins']}" if row["joins"] else "")] for row in rows])


def show_built(document: Mapping[str, Any]) -> None:
    from archfab.terminal import clock, say
    folder = Path(document["table"])
    say(f"{folder}: {document['architectures']:,} architectures x {document['seeds']} seeds "
        f"({document['failed']} failed) in {clock(document['seconds'])}, {document['bytes'] / 1000:,.0f} kB")
    say(f"look at it: archfab table show {folder}; the runs in {folder / 'runs'} are needed no more")
