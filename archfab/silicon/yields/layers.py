"""The layers of a die as a TOML file, and the yield that they mean from first principles."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archfab.core import UsageError
from archfab.silicon.yields.compounding import compound_yield
from archfab.silicon.yields.critical_area import Faults, Layer, Lines, Sizes, faults_of
from archfab.silicon.yields.models import yield_at

LINES = ("width_um", "space_um", "length_um", "lines")
LAYER = ("name", "number", "kill_ratio", "d0_per_cm2", "d0_short_per_cm2", "d0_open_per_cm2", *LINES)
TOP = ("area_mm2", "x0_um", "exponent", "layer")


def read_layers(path: Path) -> tuple[float, Sizes, list[Layer]]:
    """The die's area in mm2, the law of defect sizes and the layers of a TOML file.

    :raises UsageError: no TOML, an unknown key, a figure that is missing or impossible.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}; write one with area_mm2, x0_um and [[layer]] tables "
                         "(docs/yield.md shows one), or give --width-um and the others") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    _legal(f"{path}", data, TOP)
    for name in ("area_mm2", "x0_um"):
        if name not in data:
            raise UsageError(f"{path} has no {name}")
    tables = data.get("layer", [])
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"{path} has no [[layer]]")
    sizes = Sizes(_number(str(path), "x0_um", data["x0_um"]), _number(str(path), "exponent", data.get("exponent", 3)))
    return _number(str(path), "area_mm2", data["area_mm2"]), sizes, [
        _layer(f"{path}, layer {i}", table) for i, table in enumerate(tables, 1)]


def _layer(where: str, table: Mapping[str, Any]) -> Layer:
    _legal(where, table, LAYER)
    figures = {key: _number(where, key, value) for key, value in table.items() if key != "name"}
    given = [key for key in LINES if key in figures]
    if given and len(given) < len(LINES):
        raise UsageError(f"{where} has {', '.join(given)} but not {', '.join(set(LINES) - set(given))}")
    number = figures.pop("lines", 1)
    shape = {key: figures.pop(key) for key in given if key != "lines"}
    lines = Lines(**shape, number=number) if shape else None     # type: ignore[arg-type]
    return Layer(str(table.get("name", where.rpartition(", ")[2])), lines, **figures)     # type: ignore[arg-type]


def _legal(where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    if extra := [key for key in table if key not in known]:
        raise UsageError(f"{where}: there is no '{extra[0]}'; legal: {', '.join(known)}")


def _number(where: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{where}: {key} is no number: {value!r}")
    return value


def yields_of(layers: Sequence[Layer], area_mm2: float, sizes: Sizes,
              alpha: float | None) -> tuple[list[Faults], float, dict[str, dict[str, float]]]:
    """What each layer contributes, the mean number of killing defects on a die, and the yields: of Poisson's law, and
    where the density varies triangularly (Murphy) or as a gamma law (negative binomial), each by integration over that
    density and by the closed form."""
    faults = [faults_of(layer, area_mm2, sizes) for layer in layers]
    mean = sum(each.mean for each in faults)
    found = {"poisson": {"yield": float(yield_at(mean, "poisson"))}}
    laws = [("murphy", "triangular", None)] + ([("negative-binomial", "gamma", alpha)] if alpha is not None else [])
    for model, density, shape in laws:
        closed = float(yield_at(mean, model, shape))
        found[model] = {"yield": compound_yield(mean, density, shape), "closed_form": closed}
    return faults, mean, found
