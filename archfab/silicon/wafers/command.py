"""The word `fit`: wafer maps in, defect density, clustering and a picture out."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import UsageError
from archfab.silicon.files import check_folder, check_picture, save, write
from archfab.silicon.words import Word

if TYPE_CHECKING:
    from archfab.silicon.wafers.maps import WaferMap

MANY = 40           # wafers that are listed one by one


def add(word: Word) -> None:
    """The words, their options, what does them and how the answers are shown."""
    one = word("fit", "defect density, clustering and yield from wafer maps",
               "archfab silicon fit MAP.csv --die-mm 10x8 --png map.png", fit, shown)
    one.add_argument("maps", nargs="+", metavar="MAP", help="CSV (a matrix of dies, or columns x, y and pass, bin or "
                     "defects), a KLA results file (KLARF 1.0 to 1.2), .npz or .npy")
    one.add_argument("--codes", metavar="MEANING", help="what the numbers of a matrix mean: wafer (0 no die, 1 "
                     "passing, 2 failing), pass (1 passes), fail (1 fails), defects (how many)")
    one.add_argument("--good-bins", metavar="N,N", help="bins that pass, of a column bin (default: 1)")
    one.add_argument("--die-mm", metavar="WxH", help="width and height from die to die: 10x8, or 10 for a square")
    one.add_argument("--wafer-mm", type=float, metavar="D", help="diameter of the wafer")
    one.add_argument("--wafers", metavar="N,A:B", help="only these, by number from 0 or by name: 0:25")
    one.add_argument("--label", metavar="NAME", help="only wafers with this label")
    one.add_argument("--edge", type=int, default=0, metavar="RINGS", help="leave out so many rings of dies at the edge")
    one.add_argument("--edge-mm", type=float, metavar="MM", help="leave out dies that reach into this outer ring")
    one.add_argument("--windows", metavar="N,N", help="windows of so many dies, where passing and failing is all that "
                     "is known (1, 2, 4, 8, 16; default: 1,2,4)")
    one.add_argument("--model", metavar="NAME,NAME", help="models of numbers of defects to compare (default: all)")
    one.add_argument("--weights", default="rook", metavar="rook|queen", help="which dies are neighbours "
                     "(default: %(default)s)")
    one.add_argument("--permutations", type=int, default=999, metavar="N", help="shuffled wafers that p-values rest on "
                     "(default: %(default)s)")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="of the shuffling (default: %(default)s)")
    one.add_argument("--png", metavar="FILE", help="draw the maps into a .png or .svg file")
    one.add_argument("--csv", metavar="FILE", help="write a line for each wafer")


def fit(asked: argparse.Namespace) -> Mapping[str, Any]:
    """What the maps say, as a document."""
    from archfab.silicon.wafers.counts import MODELS
    from archfab.silicon.wafers.maps import chosen, edge
    from archfab.silicon.wafers.reading import read_maps
    from archfab.silicon.wafers.report import Asked, report
    names = tuple(MODELS) if asked.model is None else tuple(dict.fromkeys(map(str.strip, asked.model.split(","))))
    for name in names:
        if name not in MODELS:
            from archfab.core import unknown
            raise unknown("model of defect counts", name, list(MODELS))
    check(asked)
    bins = None if asked.good_bins is None else numbers(asked.good_bins, "--good-bins")
    windows = (1, 2, 4) if asked.windows is None else tuple(numbers(asked.windows, "--windows"))
    wafers = [wafer for path in asked.maps
              for wafer in read_maps(path, asked.codes, bins, size(asked.die_mm), asked.wafer_mm)]
    wafers = chosen(wafers, asked.wafers, asked.label)
    suits(asked, wafers)
    wanted = Asked(asked.edge, asked.edge_mm, windows, names, asked.weights,
                   asked.permutations, asked.seed)
    document = {"files": [Path(path).name for path in asked.maps]} | report(wafers, wanted, progress(len(wafers)))
    if asked.png:
        from archfab.silicon.wafers.picture import MOST, drawn
        masks = [edge(wafer, asked.edge, asked.edge_mm) for wafer in wafers]
        save(drawn(wafers, masks, [title(each) for each in document["maps"]]), asked.png)
        document |= {"picture": asked.png, "drawn": min(MOST, len(wafers))}
    if asked.csv:
        write(asked.csv, table(document["maps"]))
    return document


def check(asked: argparse.Namespace) -> None:
    """Refuses what cannot be done before anything is read."""
    check_picture(asked.png)
    if asked.csv:
        check_folder(Path(asked.csv))
    if asked.edge < 0:
        raise UsageError(f"--edge {asked.edge} cannot be; legal: 0 rings of dies and up")
    if asked.edge_mm is not None and not 0 < asked.edge_mm < 225:
        raise UsageError(f"--edge-mm {asked.edge_mm:g} cannot be; legal: above 0 and below 225 mm")
    if asked.edge and asked.edge_mm is not None:
        raise UsageError("--edge counts rings of dies and --edge-mm is in mm; say one of the two")
    if asked.seed < 0:
        raise UsageError(f"--seed {asked.seed} cannot be; legal: 0 and up")
    if twice := [path for i, path in enumerate(asked.maps) if Path(path).resolve() in
                 [Path(other).resolve() for other in asked.maps[:i]]]:
        raise UsageError(f"{twice[0]} is named twice; its dies would count twice")


def suits(asked: argparse.Namespace, wafers: Sequence[WaferMap]) -> None:
    """Refuses options that these maps have no use for, and would be ignored."""
    counted = any(wafer.counted for wafer in wafers)
    if asked.model is not None and not counted:
        raise UsageError("--model compares models of numbers of defects, and these maps say only which dies fail; "
                         "leave it out")
    if asked.windows is not None and counted:
        raise UsageError("--windows is for maps that say only which dies fail, and these have numbers of defects, "
                         "which tell D0 and alpha without windows; leave it out")


def numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} takes whole numbers with commas between, such as 1,2,4, not '{text}'") from None


def size(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        sides = [float(part) for part in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise UsageError(f"--die-mm takes width and height in mm, such as 10x8, not '{text}'")
    return sides[0], sides[-1]


def progress(number: int) -> Any:
    """A line on standard error now and then, where there are many wafers."""
    from archfab.terminal import Line
    line = Line()

    def told(done: int) -> None:
        if done == number:
            line.end()
        elif line.due():
            line.write(f"shuffling wafers: {done}/{number}")
    return told


def title(found: Mapping[str, Any]) -> str:
    label = f", {found['label']}" if found["label"] else ""
    return f"{found['name'][-24:]}{label}: yield {found['yield']:.1%}"


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def shown(document: Mapping[str, Any]) -> None:
    """The maps for a person: what they say of the process, then how failures lie."""
    from archfab.terminal import say, show_table
    whole = document["yield"]
    say(f"{document['wafers']} wafer{'s' if document['wafers'] > 1 else ''}, {document['dies']:,} dies, "
        f"{document['failing']:,} fail: yield {whole['value']:.2%} ({whole['low']:.2%} to {whole['high']:.2%})")
    for note in document["notes"]:
        say(note)
    found = document["fit"]
    named = (("d0_per_cm2", "D0 per cm2"), ("defects_per_die", "defects per die"), ("alpha", "alpha"))
    rows = [[name, *edges(found[key])] for key, name in named if found.get(key)]
    if found.get("blocks"):
        rows.append([f"{rows[0][0]}, by {found['blocks']['groups']} groups",
                     *edges(found["blocks"]["d0_per_cm2"] or found["blocks"]["defects_per_die"])])
    if found.get("lot"):
        rows += [["alpha within wafers", *edges(found["lot"]["alpha_within"])],
                 ["alpha between wafers", *edges(found["lot"]["alpha_between"])]]
    if rows:
        say()
        show_table(["fitted", "value", "low", "high"], rows, "from defects per die" if document["counted"] else
                   "from windows of passing and failing dies")
    if found["models"]:
        say()
        show_table(["model", "AIC", "weight", *(["p of fit"] if document["counted"] else [])],
                   [[each["name"], round(each["aic"], 1), round(each["weight"], 3),
                     *([each["p_value"]] if document["counted"] else [])] for each in found["models"]])
    if found.get("windows"):
        say()
        show_table(["window of dies", "places", "yield", "fitted"],
                   [[each["dies"], each["places"], each["yield"], each["fitted"]] for each in found["windows"]])
    if found.get("equal_likelihood"):
        say()
        units = ["defects per die"] + ["D0 per cm2"] * (document["die_area_cm2"] is not None)
        show_table(["alpha", *units],
                   [["infinite" if each["alpha"] is None else each["alpha"], each["defects_per_die"],
                     each["d0_per_cm2"]][:1 + len(units)] for each in found["equal_likelihood"]],
                   "of equal likelihood by the yield alone")
    if document["spatial"]["statistics"]:
        say()
        names = {"moran": "Moran's I", "BB": "failing beside failing", "BW": "failing beside passing",
                 "WW": "passing beside passing", "nearest": "nearest-neighbour index"}
        show_table(["statistic", "value", "shuffled", "z", "p"],
                   [[names[name], each["value"], each["expected"], each["z"], each["p_value"]]
                    for name, each in document["spatial"]["statistics"].items()],
                   f"{document['spatial']['weights']} neighbours, {document['spatial']['permutations']} shuffles")
    if 1 < document["wafers"] <= MANY:
        say()
        show_table(["wafer", "label", "yield", "Moran's I", "p"],
                   [[each["name"], each["label"], each["yield"], each["moran_i"], each["moran_p"]]
                    for each in document["maps"]])
    say()
    for sentence in document["statements"]:
        say(sentence)
    if "picture" in document:
        some = "" if document["drawn"] == document["wafers"] else f" (the first {document['drawn']} wafers)"
        say(f"drawn in {document['picture']}{some}")


def edges(found: Mapping[str, Any]) -> list[Any]:
    """Value and interval; None is infinite."""
    return ["infinite" if found[key] is None else float(found[key]) for key in ("value", "low", "high")]
