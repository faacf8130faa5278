"""The mappings of a network on a spatial array as files: loop nests as YAML or JSON, energy by level as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archfab.core import UsageError

ENDINGS = (".yaml", ".yml", ".json", ".svg", ".png")
COLOURS = ("#1b2a3a", "#0b6fb8", "#d9822b", "#7fb069", "#8e6c8a", "#b9c4cf", "#c44536", "#e0b93f")


def write(document: Mapping[str, Any], file: str) -> None:
    """Writes the mappings of a document of `archfab cost` to a file, or prints them where that is `-`."""
    rows = [row for row in document["operators"] if "nests" in row]
    if not rows:
        raise UsageError(f"the device '{document['device']}' maps no loops; devices with the cost model `accelerator` "
                         "do, such as tpu-like")
    if file == "-":
        for number, row in enumerate(rows, 1):
            print(f"{number} {row['operator']} {'x'.join(map(str, row['shape']))}\n{row['mapping']}\n")
        return
    path = Path(file)
    if path.suffix not in ENDINGS:
        raise UsageError(f"mappings are written to a file that ends in {', '.join(ENDINGS)}, or printed with -; not to "
                         f"{file}")
    try:
        path.write_bytes(picture(rows, document["device"], path.suffix) if path.suffix in (".svg", ".png")
                         else listing(rows, document["device"], path.suffix).encode())
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None


def listing(rows: Sequence[Mapping[str, Any]], device: str, ending: str) -> str:
    """Each operator's nests as plain data: units by dimension of the array, loops innermost first, and how many of
    them each memory holds of each operand."""
    data = {"device": device, "layers": [{"operator": row["operator"], "shape": row["shape"], "cycles": row["cycles"],
                                          "energy_mj": row["energy_mj"], "nests": row["nests"]} for row in rows]}
    if ending == ".json":
        return json.dumps(data, indent=1) + "\n"
    try:
        import yaml  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise UsageError("YAML files need PyYAML; install it: pip install pyyaml (or write a .json file)") from None
    return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110))


def picture(rows: Sequence[Mapping[str, Any]], device: str, ending: str) -> bytes:
    """Stacked bars: the energy of each operator by level, from the arithmetic outwards."""
    from archfab.drawing import new_figure, png, svg
    figure, (axis,) = new_figure()
    levels = list(dict.fromkeys(level for row in rows for level in row["energy_by_level_mj"]))
    base = [0.0] * len(rows)
    for at, level in enumerate(levels):
        heights = [sum(row["energy_by_level_mj"].get(level, {}).values()) for row in rows]
        axis.bar(range(1, len(rows) + 1), heights, bottom=base, color=COLOURS[at % len(COLOURS)],
                 label=level)
        base = [below + height for below, height in zip(base, heights, strict=True)]
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("operator, in the order in which they run")
    axis.set_ylabel("energy (mJ)")
    axis.set_title(f"energy by level on {device}", loc="left")
    axis.legend(frameon=False)
    return png(figure) if ending == ".png" else svg(figure).encode()
