"""The verb `cost`: its options, what they add to the answer, and how it is shown."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archfab.core import Device
    from archfab.hardware.workload import Workload

OPERATOR = ("operator", "kind", "detail", "shape", "macs", "bytes", "bound", "instructions", "cycles", "utilisation",
            "latency_ms", "energy_mj")


def add(one: argparse.ArgumentParser) -> None:
    """The options of the verb, beside the task's."""
    one.add_argument("target", help="an .onnx file, a bundle's folder, or a task with --genotype")
    one.add_argument("--genotype", metavar="FILE", help="JSON: choice name -> label, or a bundle.json")
    one.add_argument("--shape", action="append", default=[], metavar="NAME=1x3x224x224", dest="shapes",
                     help="of an input of an ONNX file that takes several")
    one.add_argument("--memory", nargs="?", const="", metavar="PNG", help="tell where the peak of memory is, what lies "
                     "there and what patches save; with a file, draw the plan too")
    one.add_argument("--mappings", metavar="FILE", help="on a spatial array: each layer's loop nest (.yaml, .json; - "
                     "prints it), or its energy by level as a picture (.svg, .png)")
    one.add_argument("--layouts", action="store_true", help="compare memory layouts on this machine: NCHW and NHWC, "
                     "and what copies and transposes cost")


def carry_out(asked: argparse.Namespace, options: Mapping[str, Any]) -> dict[str, Any]:
    """Costs the network, and tells what was asked beside that."""
    from archfab.costing.costs import costs_on, device_for, workload_of
    from archfab.costing.mappings import write
    workload = workload_of(asked.target, asked.genotype, asked.space, asked.data, asked.shapes, options)
    device = device_for(asked.device, asked.target, asked.genotype)
    document = {"network": asked.target, **costs_on(device, workload)}
    if asked.memory is not None:
        document["memory"] = memory(device, workload, asked.memory)
    if asked.mappings:
        write(document, asked.mappings)
    if asked.layouts:
        from archfab.hardware.measuring.layouts import layouts
        assert workload.network is not None
        document["layouts"] = layouts(workload.network)
    return document


def memory(device: Device, workload: Workload, file: str) -> dict[str, Any]:
    """The plan of a network's activations, drawn where there is a file for it."""
    from archfab.core import UsageError
    from archfab.hardware.memory.report import report
    if file and not file.endswith(".png"):
        raise UsageError(f"the memory plan is drawn into a .png file, not into {file}")
    found, picture = report(device, workload, bool(file))
    if picture:
        try:
            Path(file).write_bytes(picture)
        except OSError as error:
            raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    return found


def shown(document: Mapping[str, Any]) -> None:
    """The costs of one network, and the operators that they add up from."""
    from archfab.terminal import say, show_table
    room = document["capacity"]
    show_table(["cost", "value", "low", "high", "origin", *(["room"] if room else [])],
               [[name, row["value"], row["low"], row["high"], row["origin"], *([room.get(name, "")] if room else [])]
                for name, row in document["costs"].items()], f"on {document['device']}")
    if die := document["notes"].get("die"):
        say(f"die: {die}")
    for name, most in room.items():
        if document["costs"].get(name, {"value": 0})["value"] > most:
            say(f"it does not fit: {name} is {document['costs'][name]['value']:.4g}, and {document['device']} has room "
                f"for {most:.4g}")
    if document["operators"]:
        say()
        show_rows([name for name in OPERATOR if any(name in row for row in document["operators"])],
                  document["operators"])
    if document["unknown"]:
        say(f"not known to the cost model: {', '.join(document['unknown'])}")
    if disturbed := document["notes"].get("disturbed"):
        say(f"the machine was not steady, which the interval holds: {disturbed}")
    for line in document.get("memory", {}).get("said", ()):
        say(line)
    if found := document.get("layouts"):
        show_layouts(found)


def show_layouts(found: Mapping[str, Any]) -> None:
    from archfab.hardware.measuring.layouts import in_words
    from archfab.terminal import say
    say()
    if found["hidden"]:
        show_rows(["where", "operator", "name", "shape", "bytes", "latency_ms"], found["hidden"],
                  "hidden copies and transposes")
    for line in in_words(found):
        say(line)


def show_rows(names: list[str], rows: list[Mapping[str, Any]], title: str = "") -> None:
    from archfab.terminal import show_table
    show_table(names, [["x".join(map(str, row.get(n, ()))) if n == "shape" else row.get(n, "") for n in names]
                       for row in rows], title)
