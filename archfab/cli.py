"""The command line: verbs only, no logic."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from archfab.comparison.command import add as add_comparison
from archfab.core import Budget, UsageError
from archfab.costing.command import add as add_cost
from archfab.device.command import add as add_device
from archfab.silicon.command import add as add_silicon
from archfab.tabulation.command import add as add_table

Extras = Mapping[str, Any]


class Parser(argparse.ArgumentParser):
    """Errors in one line, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb. Exit codes: 0 done, 1 it failed, 2 the request is wrong, 130 interrupted (and resumable)."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # strategies compute little, and the workers have the cores
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")     # spinning threads stall each other on a busy machine
    warnings.formatwarning = lambda message, *_: f"archfab: {message}\n"
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)           # a shell that starts us in the background has it ignored
    try:
        asked, rest = parser().parse_known_args(arguments)
        options = extras(rest)
        for name in options:
            if asked.takes_options and (near := get_close_matches(name, [*vars(asked)], n=1, cutoff=0.75)):
                raise UsageError(f"no option named '--{name.replace('_', '-')}'; did you mean "
                                 f"'--{near[0].replace('_', '-')}'?")
        if options and not asked.takes_options:
            raise UsageError(f"archfab {asked.verb} has no option --{next(iter(options))}; "
                             f"see: archfab {asked.verb} --help")
        with redirect_stdout(sys.stderr) if asked.json else nullcontext():      # what a user's file prints is no answer
            return asked.do(asked, options)
    except UsageError as error:
        print(f"archfab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"\narchfab: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (OSError, sqlite3.OperationalError) as error:
        print(f"archfab: cannot write or read: {error}; make room, or choose another place (--runs DIR, --png FILE)"
              "; a run that had begun goes on with archfab resume RUN", file=sys.stderr)
        return 2
    except Exception as error:
        if os.environ.get("ARCHFAB_DEBUG"):
            raise
        print(f"archfab: failed: {type(error).__name__}: {error} (ARCHFAB_DEBUG=1 shows where)", file=sys.stderr)
        return 1


def interrupted(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def extras(words: Sequence[str]) -> dict[str, str]:
    """Options that belong to a plug-in: `--population 50` or `--population=50`."""
    found: dict[str, str] = {}
    pending = list(words)
    while pending:
        word = pending.pop(0)
        if not word.startswith("--"):
            raise UsageError(f"unexpected word '{word}'; options are written --name VALUE")
        name, has_value, value = word[2:].partition("=")
        if not has_value:
            if not pending or pending[0].startswith("--"):
                raise UsageError(f"--{name} needs a value")
            value = pending.pop(0)
        found[name.replace("-", "_")] = value
    return found


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="archfab", description="From a data set and a target device to the network that fits it.",
                 epilog="example: archfab search vision --device cortex-m7 --limit 'memory_kb<=64' --trials 30")
    from archfab import __version__
    top.add_argument("--version", action="version", version=f"archfab {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)

    def verb(name: str, do: Callable[[argparse.Namespace, Extras], int], about: str, example: str,
             takes_options: bool = False) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=about, description=about, epilog=f"example: {example}",
                                formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        made.set_defaults(do=do, takes_options=takes_options)
        made.add_argument("--json", action="store_true", help="one JSON document on standard output")
        return made

    add_search(verb("search", search, "search for the networks that fit, train and export the best",
                    "archfab search vision --data DIR --device cortex-m7 --limit 'memory_kb<=256' --budget 10m\n"
                    "options of the task, strategy and estimator are given alike: --initial 12 --lr 0.01", True))
    one = verb("resume", resume, "go on with an interrupted run", "archfab resume vision-1")
    add_run(one)
    one = verb("show", show, "a run's front, verdict and report", "archfab show vision-1 --trials")
    add_run(one)
    one.add_argument("network", nargs="?", help="the id of one network, or its first digits")
    one.add_argument("--trials", action="store_true", help="every network that was tried")
    one = verb("compare", compare, "runs of the same task side by side", "archfab compare vision-1 vision-2")
    one.add_argument("runs_", nargs="+", metavar="RUN", help="names or folders of runs")
    one.add_argument("--png", type=Path, metavar="FILE", help="the fronts in one picture")
    add_runs(one)
    add_comparison(verb("compare-strategies", compare_strategies, "search strategies side by side on benchmark tables",
                        "archfab compare-strategies --strategies random evolution:population=50 --runs 20"))
    one = verb("export", export, "train networks of a run at full budget and write their bundles",
               "archfab export vision-1 3f2a --seeds 3 --full-epochs 60")
    add_run(one)
    one.add_argument("networks", nargs="*", metavar="ID", help="ids; the best network without any")
    one.add_argument("--seeds", type=int, help="trainings of each network")
    add_budget(one, "full-", "of each training")
    one = verb("replay", replay, "derive a bundle again and say what differs",
               "archfab replay runs/vision-1/bundles/3f2a...")
    one.add_argument("bundle", help="a bundle's folder")
    one = verb("predict", predict, "what delivered networks say of new data; several are an ensemble",
               "archfab predict runs/forecasting-1/bundles/3f2a... --data new.csv --out forecasts", True)
    one.add_argument("bundles", nargs="+", metavar="BUNDLE", help="a bundle's folder")
    one.add_argument("--data", required=True, metavar="PATH", help="the new data, in a form that the task reads")
    one.add_argument("--out", metavar="DIR", help="a new folder (default: predictions-1, predictions-2, ...); options "
                     "of the task: archfab list tasks TASK")
    one = verb("space", space, "what a task's search space is, what it can do and what a search will cost",
               "archfab space vision --space cell --device cortex-m7", True)
    one.add_argument("task", help="a name, or a .py file")
    add_task(one)
    one = verb("list", list_, "the known names of a kind, or the options of one of them", "archfab list strategies tpe")
    one.add_argument("kind", help="tasks, strategies, estimators, devices, executors, cost-models, lowerings, "
                     "sampling")
    one.add_argument("name", nargs="?", help="one of them: its options, their defaults and what they mean")
    add_table(verb("table", table, "benchmark tables: what one holds, which are known, a new one of any small space",
                   "archfab table show ../nasbench201; archfab table build vision --space small.py --out small"))
    add_device(verb("device", device, "a new device from ten measured networks, and which to measure next",
                    "archfab device next --table nb201 --out ten.csv; archfab device add mine --measurements ten.csv"))
    one = verb("cost", cost, "what one network costs on a device, operator by operator",
               "archfab cost MODEL.onnx --device cortex-m7; archfab cost vision --genotype FILE --device cortex-m7",
               True)
    add_cost(one)
    add_task(one)
    add_silicon(verb("silicon", silicon, "the chip under the network: yield, die cost, ageing, carbon",
                     "archfab silicon yield --model negative-binomial --d0 0.1 --alpha 2 --area-mm2 100"))
    return top


def add_search(one: argparse.ArgumentParser) -> None:
    one.add_argument("task", help="a name (archfab list tasks), or a .py file")
    add_task(one)
    one.add_argument("--strategy", default="auto", help="what proposes networks (default: %(default)s)")
    one.add_argument("--estimator", help="how a network is scored (default: the task's own)")
    one.add_argument("--minimize", action="append", default=[], metavar="NAME", help="may be given several times")
    one.add_argument("--maximize", action="append", default=[], metavar="NAME")
    one.add_argument("--limit", action="append", default=[], metavar="'NAME<=NUMBER'", dest="limits")
    one.add_argument("--trials", type=int, help="networks to try (default: 50, or until the budget is used)")
    one.add_argument("--budget", metavar="TIME", help="bounds the search in time: 90s, 10m, 1.5h")
    add_budget(one, "", "of one trial")
    add_budget(one, "full-", "of one delivered network")
    one.add_argument("--deliver", type=int, default=3, help="networks of the front to deliver (default: %(default)s)")
    one.add_argument("--seeds", type=int, default=1, help="trainings of each delivered network")
    one.add_argument("--no-random", action="store_false", dest="random", help="no random search beside the search")
    one.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--run", metavar="NAME", help="the run's name, or a folder (default: TASK-1, TASK-2, ...)")
    add_runs(one)


def add_task(one: argparse.ArgumentParser) -> None:
    one.add_argument("--data", metavar="PATH", help="the data set (default: a small one that is built in)")
    one.add_argument("--space", metavar="NAME", help="one of the task's spaces, or a .py file that declares `space`")
    one.add_argument("--device", default="null", help="a name (archfab list devices) or a .toml file")


def add_budget(one: argparse.ArgumentParser, prefix: str, of: str) -> None:
    one.add_argument(f"--{prefix}epochs", type=float, metavar="N", help=f"passes over the data {of}")
    one.add_argument(f"--{prefix}steps", type=int, metavar="N", help=f"steps {of}")
    one.add_argument(f"--{prefix}seconds", type=float, metavar="S", help=f"seconds {of}")


def add_run(one: argparse.ArgumentParser) -> None:
    one.add_argument("run", help="a run's name or folder")
    add_runs(one)


def add_runs(one: argparse.ArgumentParser) -> None:
    one.add_argument("--runs", default=os.environ.get("ARCHFAB_RUNS", "runs"), metavar="DIR",
                     help="where runs are kept (default: %(default)s)")


def budget(asked: argparse.Namespace, prefix: str = "") -> Budget | None:
    values = {name: getattr(asked, prefix + name) for name in ("epochs", "steps", "seconds")}
    return Budget(**values) if any(value is not None for value in values.values()) else None


def answer(asked: argparse.Namespace, document: Any, shown: Callable[[Any], None]) -> int:
    """The result, as JSON or for a person."""
    if asked.json:
        print(json.dumps(document, indent=1, allow_nan=False), file=sys.__stdout__)
    else:
        shown(document)
    return 0


def search(asked: argparse.Namespace, options: Extras) -> int:
    from archfab.search import search as run_search
    return finish(asked, run_search(
        asked.task, run=asked.run, runs=asked.runs, watcher=watcher, space=asked.space, data=asked.data,
        strategy=asked.strategy, estimator=asked.estimator, device=asked.device, minimize=asked.minimize,
        maximize=asked.maximize, limits=asked.limits, trials=asked.trials, budget=asked.budget,
        trial_budget=budget(asked), full_budget=budget(asked, "full_"), deliver=asked.deliver, seeds=asked.seeds,
        random=asked.random, workers=asked.workers, seed=asked.seed, options=options))


def resume(asked: argparse.Namespace, _: Extras) -> int:
    from archfab.search import resume as run_resume
    return finish(asked, run_resume(asked.run, runs=asked.runs, watcher=watcher))


def watcher(spec: Any, folder: Path) -> Any:
    from archfab.terminal import Progress
    print(f"archfab: {folder} (Ctrl-C stops it, archfab resume {folder} goes on)", file=sys.stderr)
    return Progress(spec)


def finish(asked: argparse.Namespace, run: Any) -> int:
    """Writes the report of a finished run and answers with its result."""
    from archfab.terminal import say, show_run
    report = run.report()
    document = run.plain()
    code = answer(asked, document, show_run)
    if not asked.json:
        say(f"report: {report}")
    if not run.front:
        print(f"archfab: failed: {run.trouble()}", file=sys.stderr)
        return 1
    if run.spec.deliver and not run.deliveries:
        print("archfab: failed: no network could be delivered", file=sys.stderr)
        return 1
    return code


def show(asked: argparse.Namespace, _: Extras) -> int:
    from archfab import terminal
    from archfab.runs import Run
    from archfab.search import find
    run = Run(find(asked.run, asked.runs))
    if asked.network:
        member = run.member(asked.network)
        document = {**member.plain(), "figures": dict(member.figures), "curve": list(member.curve)}
        return answer(asked, document, lambda d: terminal.show_table(
            ["", ""], [[key, json.dumps(value) if isinstance(value, dict | list) else value]
                       for key, value in d.items()]))
    if asked.trials:
        rows = run.trials()
        names = ["trial", "arm", "outcome", "id", *run.spec.objectives, "note"]
        return answer(asked, rows, lambda _: terminal.show_table(names, [[r.get(n) for n in names] for r in rows]))
    code = answer(asked, run.plain(), terminal.show_run)
    if not asked.json and os.access(run.folder, os.W_OK):
        terminal.say(f"report: {run.report()}")
    return code


def compare(asked: argparse.Namespace, _: Extras) -> int:
    from archfab import terminal
    from archfab.runs import Run
    from archfab.runs.compare import compare_runs
    from archfab.search import find
    runs = [Run(find(name, asked.runs)) for name in asked.runs_]
    document = compare_runs(runs)
    if asked.png:
        from archfab.drawing import png
        from archfab.runs.picture import compared_figure
        asked.png.write_bytes(png(compared_figure(runs)))
    header = ["run", "strategy", "seed", "trials", "seconds", "hypervolume", *document["objectives"]]
    return answer(asked, document, lambda d: terminal.show_table(
        header, [[row.get(name) if name not in d["objectives"] else row["best"].get(name) for name in header]
                 for row in d["runs"]]))


def compare_strategies(asked: argparse.Namespace, _: Extras) -> int:
    from archfab.comparison.command import carry_out
    from archfab.terminal import Runs, say, show_comparison
    line = Runs()
    try:
        document, folder = carry_out(asked, line)
    finally:
        line.end()
    code = answer(asked, document, show_comparison)
    if not asked.json:
        say(f"report: {folder / 'report.html'}")
    for row in document["failures"][:10]:
        print("archfab: failed: {strategy} on {table}, seed {seed}: {message}".format(**row), file=sys.stderr)
    return 1 if document["failures"] else code


def export(asked: argparse.Namespace, _: Extras) -> int:
    from archfab import terminal
    from archfab.search import export_networks, find
    folder = find(asked.run, asked.runs)
    run = export_networks(folder, asked.networks, seeds=asked.seeds, full_budget=budget(asked, "full_"))
    run.report()
    chosen = [run.member(ident) for ident in asked.networks] or [run.best]
    document = [{**member.plain(), **({} if member.delivered else {"failed": run.undelivered(member)})}
                for member in chosen]
    code = answer(asked, document, lambda rows: terminal.show_table(
        ["network", "test error", "bundle"], [[r["id"], r.get("test_error"), r.get("bundle", r.get("failed"))]
                                              for r in rows]))
    return 1 if any("failed" in row for row in document) else code


def replay(asked: argparse.Namespace, _: Extras) -> int:
    from archfab.deliver import replay as derive
    document = derive(asked.bundle)

    def shown(d: Mapping[str, Any]) -> None:
        print(f"{d['bundle']}: derived again, {'equal to the last bit' if d['same'] else 'but it differs'}")
        for line in d["differences"]:
            print(f"  {line}")
        for line in d["environment"]:
            print(f"  environment: {line}")

    return answer(asked, document, shown) or (0 if document["same"] else 1)


def predict(asked: argparse.Namespace, options: Extras) -> int:
    from archfab.prediction import predict as say
    from archfab.terminal import show_table
    document = say(asked.bundles, asked.data, asked.out, options)
    return answer(asked, document, lambda d: show_table(
        ["file", "about"], [[str(Path(d["folder"]) / row["file"]), row["about"]] for row in d["files"]]))


def space(asked: argparse.Namespace, options: Extras) -> int:
    from archfab.preview import preview
    from archfab.terminal import show_space
    return answer(asked, preview(asked.task, asked.space, asked.data, asked.device, options), show_space)


def list_(asked: argparse.Namespace, _: Extras) -> int:
    from archfab import registry
    from archfab.terminal import show_options, show_table
    if asked.name:
        plugin = registry.load(asked.kind, asked.name)
        document = {**registry.describe(asked.kind, asked.name), "options": registry.options(plugin)}
        if asked.kind == "tasks":
            document["predict"] = registry.options(plugin.predict)
        return answer(asked, document, show_options)
    rows = [registry.describe(asked.kind, name) for name in registry.names(asked.kind)]
    return answer(asked, rows, lambda r: show_table(
        ["name", "about", "install"],
        [[row["name"], row["about"], f"pip install 'archfab[{row['extra']}]'" if row["extra"] else ""] for row in r]))


def table(asked: argparse.Namespace, options: Extras) -> int:
    from archfab.tabulation.command import carry_out, shown
    return answer(asked, carry_out(asked, options), shown(asked.word))


def device(asked: argparse.Namespace, options: Extras) -> int:
    from archfab.device.command import carry_out, shown
    return answer(asked, carry_out(asked, options), shown(asked.word))


def cost(asked: argparse.Namespace, options: Extras) -> int:
    from archfab.costing.command import carry_out, shown
    return answer(asked, carry_out(asked, options), shown)


def silicon(asked: argparse.Namespace, _: Extras) -> int:
    document = asked.carry_out(asked)
    return answer(asked, document, asked.shown) or int(bool(document.get("exit")))      # of a command that was run


if __name__ == "__main__":
    sys.exit(main())
